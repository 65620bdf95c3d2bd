//! How syncs look on stdout: lines of `--json`, and of a plan.

use super::json::line;
use super::transfer::FULL;
use crate::args::Json;
use crate::print_bytes;
use bssh_client::SyncEvent;
use bssh_protocol::sync::{SyncStarted, SyncStep, Synced};
use bssh_term::{harmless, sync_step};
use serde::Serialize;

/// Lines on stdout.
pub(crate) struct SyncLines {
    json: Option<Json>,
    terminal: bool,
    text: Vec<u8>,
}

impl SyncLines {
    pub(crate) fn new(json: Option<Json>, terminal: bool) -> Self {
        SyncLines { json, terminal, text: Vec::new() }
    }

    pub(crate) fn start(&mut self, started: &SyncStarted) {
        if self.json == Some(Json::Events) {
            self.put("start", started);
        }
    }

    pub(crate) fn event(&mut self, event: &SyncEvent) {
        match (event, self.json) {
            (SyncEvent::Step(step), None) => self.step(step),
            (_, None | Some(Json::Summary)) => {}
            (SyncEvent::State(state), _) => self.put("state", state),
            (SyncEvent::Step(step), _) => self.put("step", step),
            (SyncEvent::Progress(progress), _) => self.put("progress", progress),
            (SyncEvent::Conflict(conflict), _) => self.put("conflict", conflict),
            (SyncEvent::Round(result), _) => self.put("round", result),
            (SyncEvent::Done(_) | SyncEvent::Lost(_), _) => {}
        }
    }

    /// The end, as its last object.
    pub(crate) fn last(&mut self, result: &Synced) {
        match self.json {
            None => {}
            Some(Json::Events) => self.put("done", result),
            Some(Json::Summary) => self.put("summary", result),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        // Events are wanted at once.
        self.text.len() > FULL || (self.json == Some(Json::Events) && !self.text.is_empty())
    }

    /// The status of stdout.
    pub(crate) fn flush(&mut self) -> u8 {
        print_bytes(&std::mem::take(&mut self.text))
    }

    fn step(&mut self, step: &SyncStep) {
        let Some(line) = sync_step(step) else { return };
        match self.terminal {
            true => harmless(&line, &mut self.text),
            false => self.text.extend_from_slice(&line),
        }
        self.text.push(b'\n');
    }

    fn put(&mut self, event: &'static str, rest: impl Serialize) {
        self.text.extend_from_slice(&line(event, rest));
    }
}
