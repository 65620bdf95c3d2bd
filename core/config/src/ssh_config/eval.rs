//! The directives evaluated for one destination: which blocks apply, which value is first.
//!
//! Passes as ssh makes them: options, files, and the files again when a `Match final` or
//! canonicalisation asks for it. Values are only referred to here; `finish` turns them into fields.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::keywords::KEYWORDS;
use super::matcher::{self, Criterion, Subject, Test};
use super::patterns::{matches, matches_list};
use super::reader::{Directive, Entry, Place, Setting};
use super::request::Request;
use super::tokens::{Tokens, USUAL};
use crate::environment::Environment;
use crate::error::Error;

/// The settings that count, in the order in which they were found.
#[derive(Default)]
pub(super) struct Chosen<'c> {
    pub settings: Vec<&'c Setting>,
    /// A bit for each row that is decided.
    taken: u128,
}

impl<'c> Chosen<'c> {
    fn add(&mut self, setting: &'c Setting) {
        let Some(keyword) = KEYWORDS.get(setting.row) else { return };
        if keyword.collects {
            let again = |s: &&Setting| s.row == setting.row && s.values == setting.values;
            if !self.settings.iter().any(again) {
                self.settings.push(setting);
            }
            return;
        }
        // ProxyCommand and ProxyJump exclude each other: they share one place.
        let slot = match keyword.name {
            "proxyjump" => setting.row.saturating_sub(1),
            _ => setting.row,
        };
        let bit = 1_u128 << slot;
        if self.taken & bit == 0 {
            self.taken |= bit;
            self.settings.push(setting);
        } else if keyword.name == "forwardagent" {
            self.name_agent(setting);
        }
    }

    /// A plain yes, as `-A` is, does not say which agent: a socket that is named later does.
    fn name_agent(&mut self, named: &'c Setting) {
        let says = |s: &Setting, word: &str| s.values.first().is_some_and(|value| value == word);
        let plain = |s: &&mut &Setting| s.row == named.row && says(s, "yes");
        if let Some(plain) = self.settings.iter_mut().find(plain)
            && !says(named, "no")
        {
            *plain = named;
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'c Setting> {
        let named = |s: &&&Setting| KEYWORDS.get(s.row).is_some_and(|k| k.name == name);
        self.settings.iter().find(named).copied()
    }

    pub(super) fn value(&self, name: &str) -> Option<&'c str> {
        self.get(name).and_then(|s| s.values.first()).map(String::as_str)
    }
}

/// The evaluation under way.
pub(super) struct Evaluation<'c> {
    pub env: &'c Environment,
    pub request: Request<'c>,
    pub chosen: Chosen<'c>,
    /// Set in the final pass: what is dialed.
    pub final_host: Option<String>,
    pub errors: Vec<Error>,
    /// Blocks that apply, for an explanation.
    pub applied: Vec<Error>,
    pub executed: &'c Executed,
}

/// Results of `Match exec`, so that a thousand nodes do not run the same command a thousand times.
#[derive(Debug, Default)]
pub(super) struct Executed(Mutex<HashMap<String, (Instant, bool)>>);

/// How long a result holds, and how many are kept.
const EXECUTED_TIME: Duration = Duration::from_secs(2);
const EXECUTED_MAX: usize = 256;

impl Executed {
    fn run(&self, command: &str, env: &Environment) -> Result<bool, String> {
        let Ok(mut results) = self.0.lock() else { return matcher::run(command, env) };
        if let Some((when, result)) = results.get(command)
            && when.elapsed() < EXECUTED_TIME
        {
            return Ok(*result);
        }
        let result = matcher::run(command, env)?;
        if results.len() >= EXECUTED_MAX {
            results.clear();
        }
        results.insert(command.to_owned(), (Instant::now(), result));
        Ok(result)
    }
}

impl<'c> Evaluation<'c> {
    /// Lines outside of blocks.
    pub(super) fn lines(&mut self, entries: &'c [Entry]) {
        self.file(entries);
    }

    /// One file with its includes.
    pub(super) fn file(&mut self, entries: &'c [Entry]) {
        let mut active = true;
        self.walk(entries, &mut active, false);
    }

    /// Everything from here on is the final pass, in which `host` is the host.
    pub(super) fn start_final(&mut self, host: String) {
        self.final_host = Some(host);
        // Of these, what the passes before have not set is the default from here on.
        let decided = [
            "hostname",
            "canonicalizehostname",
            "canonicalizemaxdots",
            "canonicalizefallbacklocal",
        ];
        for (row, _) in KEYWORDS.iter().enumerate().filter(|(_, k)| decided.contains(&k.name)) {
            self.chosen.taken |= 1 << row;
        }
    }

    fn walk(&mut self, entries: &'c [Entry], active: &mut bool, never: bool) {
        for entry in entries {
            match &entry.directive {
                Directive::Set(setting) if *active => self.chosen.add(setting),
                Directive::Set(_) => {}
                Directive::Host(patterns) => {
                    *active = !never && self.host_applies(patterns);
                    self.note_block(*active, &entry.place);
                }
                Directive::Match(criteria) => {
                    *active = !never && self.match_applies(criteria, &entry.place);
                    self.note_block(*active, &entry.place);
                }
                Directive::Include(files) => {
                    let outer = *active;
                    for file in files {
                        self.walk(file, active, never || !outer);
                        *active = outer;
                    }
                }
                Directive::Unknown(keyword) => {
                    let ignored = self.chosen.value("ignoreunknown");
                    if !ignored.is_some_and(|list| matches_list(keyword, list, true)) {
                        let message = format!("bad configuration option: {keyword}");
                        self.errors.push(entry.place.error(message));
                    }
                }
            }
        }
    }

    fn note_block(&mut self, applies: bool, place: &Place) {
        if applies && self.request.explain {
            let host = self.final_host.as_ref().unwrap_or(&self.request.destination.host);
            self.applied.push(place.error(format!("Applying options for {host}")));
        }
    }

    fn host_applies(&self, patterns: &[(bool, String)]) -> bool {
        let host = self.final_host.as_deref().unwrap_or(&self.request.destination.host);
        let mut applies = false;
        for (negated, pattern) in patterns {
            if matches(host, pattern) {
                if *negated {
                    return false;
                }
                applies = true;
            }
        }
        applies
    }

    fn match_applies(&mut self, criteria: &[Criterion], place: &Place) -> bool {
        let original = self.request.destination.host.as_str();
        let host = self.final_host.clone().unwrap_or_else(|| self.host().unwrap_or_default());
        let command = self.request.command.unwrap_or_default();
        let subject = Subject {
            env: self.env,
            final_pass: self.final_host.is_some(),
            host: &host,
            original,
            user: self.user(),
            tag: self.chosen.value("tag").unwrap_or_default(),
            session: match self.chosen.value("sessiontype") {
                Some(kind @ ("none" | "subsystem")) => kind,
                _ if command.is_empty() => "shell",
                _ => "exec",
            },
            command,
        };
        for criterion in criteria {
            let met = match criterion.test {
                Test::Exec => match self.execute(&criterion.argument, &subject) {
                    Ok(success) => success != criterion.negated,
                    Err(why) => {
                        self.errors.push(place.error(why));
                        false
                    }
                },
                _ => criterion.is_met(&subject),
            };
            if !met {
                return false;
            }
        }
        true
    }

    fn execute(&self, text: &str, subject: &Subject<'_>) -> Result<bool, String> {
        let tokens = Tokens {
            env: self.env,
            host: subject.host,
            original: subject.original,
            port: self.port(),
            user: subject.user,
            key_alias: self.chosen.value("hostkeyalias").unwrap_or(subject.host),
            jump: "",
        };
        let command =
            tokens.percent(text, USUAL, "").map_err(|why| format!("match exec: {why}"))?;
        self.executed.run(&command, self.env)
    }

    pub(super) fn user(&self) -> &'c str {
        let named = self.chosen.value("user");
        named.unwrap_or(&self.env.user)
    }

    pub(super) fn port(&self) -> u16 {
        self.chosen.value("port").and_then(|port| port.parse().ok()).unwrap_or(22)
    }

    /// The host as far as known: `HostName` with `%h`, or the destination.
    pub(super) fn host(&self) -> Result<String, Error> {
        let given = &self.request.destination.host;
        let Some(setting) = self.chosen.get("hostname") else { return Ok(given.clone()) };
        let text = setting.values.first().map_or("", String::as_str);
        if !text.contains('%') {
            return Ok(text.to_owned());
        }
        let tokens = Tokens {
            env: self.env,
            host: given,
            original: given,
            port: 0,
            user: "",
            key_alias: "",
            jump: "",
        };
        let expanded = tokens.percent(text, "h", "");
        expanded.map_err(|why| setting.place.error(format!("hostname: {why}")))
    }
}
