//! A run while it goes on: events to the view, signals to the run, progress, and the end.
//!
//! Nothing here waits for stdout: while it cannot be written no events are taken, and the nodes
//! are slowed down by credit. Ctrl-C says who is still running; twice within [`TWICE`] it cancels
//! the run; once more gives up waiting for it.

use super::Ui;
use super::fold::Folder;
use crate::output::{
    Dir, Limit, Nodes, Piece, Report, Screen, Step, Style, View, describe, progress_line,
    status_lines, summary_line, view,
};
use crate::prompt::TerminalPrompter;
use crate::request::{Mode, ViewPlan};
use crate::{cannot_print, exit};
use bssh_client::{Core, Run, RunEvent};
use bssh_protocol::exec::{Ended, ExecNode, NodeState, Summary};
use bssh_term::{Signal, Signals};
use rustix::io::Errno;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};

/// Two Ctrl-C within this time cancel.
const TWICE: Duration = Duration::from_secs(1);
/// How long a cancelled run may take to end its remote processes.
const CANCEL_GRACE: Duration = Duration::from_secs(15);
/// How long the core may take to answer that it cancels.
const CANCEL_ANSWER: Duration = Duration::from_secs(2);
/// A run that is faster shows no progress line.
const PROGRESS_AFTER: Duration = Duration::from_millis(300);
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Events taken in a row before the view may fold and the screen is flushed: a node that never
/// pauses must not keep lines from being shown.
const BURST: usize = 64;

/// How a run ended for us.
#[derive(Debug)]
pub(crate) struct Over {
    /// The summary, or why there is none.
    pub result: Result<Summary, String>,
    /// It was ended by a signal or a closed stdout, with the status for it.
    pub ended_by: Option<u8>,
}

/// A run and everything that shows it.
pub(crate) struct Watch<'a> {
    core: &'a Core,
    run: Run,
    nodes: Nodes,
    view: Box<dyn View>,
    dir: Option<Dir>,
    limit: Option<Limit>,
    screen: Screen,
    folder: Folder,
    style: Style,
    plan: &'a ViewPlan,
    prompter: Arc<TerminalPrompter>,
    progress: Option<Interval>,
    ticks: usize,
    /// Something was shown since the last flush.
    dirty: bool,
    /// Events taken since then.
    burst: usize,
    /// stdout is closed: nothing is shown any more.
    closed: bool,
    incomplete: bool,
    ending: Option<(u8, Instant)>,
    interrupted: Option<Instant>,
}

/// What to do next.
#[allow(clippy::large_enum_variant, reason = "one value at a time, never stored")]
enum Next {
    Signal(Signal),
    Written(Result<(), Errno>),
    Event(Option<RunEvent>),
    Idle,
    Tick,
    GiveUp,
}

impl<'a> Watch<'a> {
    /// # Errors
    /// The output directory cannot be written to.
    pub(crate) fn new(
        core: &'a Core,
        run: Run,
        plan: &'a ViewPlan,
        ui: &Ui,
    ) -> Result<Self, String> {
        let nodes = Nodes::new(run.started.nodes.clone());
        let dir = plan.output_dir.as_ref().map(|d| Dir::new(d, &nodes)).transpose()?;
        let mut view = view(plan, ui.style, &nodes);
        let mut screen = Screen::default();
        view.start(&run.started, &mut screen);
        Ok(Watch {
            core,
            run,
            view,
            dir,
            limit: plan.max_output.map(|most| Limit::new(most, &nodes)),
            screen,
            folder: Folder::default(),
            style: ui.style,
            plan,
            prompter: ui.prompter.clone(),
            progress: wants_progress(plan, ui.style).then(ticker),
            ticks: 0,
            dirty: true,
            burst: 0,
            closed: false,
            incomplete: false,
            ending: None,
            interrupted: None,
            nodes,
        })
    }

    /// Follows the run to its end.
    pub(crate) async fn follow(&mut self, signals: &mut Signals) -> Over {
        let result = loop {
            match self.next(signals).await {
                Next::Signal(signal) if self.ending.is_some() => {
                    self.ending = Some((signal.status(), Instant::now()));
                    break Err("no longer waiting for the run to end".to_owned());
                }
                Next::Signal(signal) => self.heard(signal).await,
                Next::Written(result) => {
                    self.dirty = true;
                    self.wrote(result).await;
                }
                Next::Event(Some(RunEvent::Done(summary))) => break Ok(summary),
                Next::Event(Some(RunEvent::Lost(how))) => break Err(how),
                Next::Event(Some(event)) => self.show(event),
                Next::Event(None) => break Err("the run ended early".to_owned()),
                Next::Idle => self.idle().await,
                Next::Tick => self.tick(),
                Next::GiveUp => break Err("the core did not end the run".to_owned()),
            }
        };
        Over { result, ended_by: self.ending.map(|(status, _)| status) }
    }

    /// Shows what is only known at the end.
    ///
    /// # Errors
    /// stdout was closed: the status for it.
    pub(crate) async fn finish(&mut self, over: &Over, json: bool) -> Result<(), u8> {
        if self.closed {
            return Ok(());
        }
        let sets = self.view.sets(true);
        let names = self.folder.fold(&sets, &self.nodes, self.core).await;
        self.view.folded(&names, &self.nodes, &mut self.screen);
        while self.view.print_some(&mut self.screen) {
            if self.screen.is_full() {
                self.flush_now().await?;
            }
        }
        if let Ok(summary) = &over.result {
            self.view.done(summary, &self.nodes, &mut self.screen);
            let written = self.dir.as_ref().map_or(Ok(()), |d| d.done(summary, &self.nodes));
            self.incomplete |=
                written.inspect_err(|e| self.screen.say(&format!("bssh: {e}"))).is_err();
        }
        if !json {
            self.report(over).await;
        }
        if let Err(how) = &over.result {
            let n_open = self.nodes.ended.iter().filter(|e| e.is_none()).count();
            let n = self.nodes.len();
            self.screen.say(&format!("bssh: {how}; no result from {n_open} of {n} nodes"));
        }
        self.screen.drain().await.map_err(cannot_print)
    }

    async fn flush_now(&mut self) -> Result<(), u8> {
        let mut result = self.screen.written().await;
        if result.is_ok() {
            result = self.screen.flush();
        }
        result.map_err(cannot_print)
    }

    /// The nodes and how they ended, in order.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&str, Option<&Ended>)> {
        let names = self.nodes.names.iter().map(String::as_str);
        names.zip(self.nodes.ended.iter().map(Option::as_ref))
    }

    /// Some output could not be written where it was wanted.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    async fn next(&mut self, signals: &mut Signals) -> Next {
        let deadline = self.ending.map_or_else(Instant::now, |(_, deadline)| deadline);
        let tick = async {
            match &mut self.progress {
                Some(ticker) => ticker.tick().await,
                None => std::future::pending().await,
            }
        };
        // A run that is being ended is followed even if nobody reads stdout any more.
        let full = (self.screen.is_full() && self.ending.is_none()) || self.burst >= BURST;
        let busy = self.screen.is_busy();
        tokio::select! {
            biased;
            signal = signals.next() => Next::Signal(signal),
            result = self.screen.written(), if busy => Next::Written(result),
            event = self.run.next(), if !full => Next::Event(event),
            () = std::future::ready(()), if self.dirty => Next::Idle,
            _ = tick => Next::Tick,
            () = sleep_until(deadline), if self.ending.is_some() => Next::GiveUp,
        }
    }

    fn show(&mut self, event: RunEvent) {
        match event {
            RunEvent::Node(event) => self.node(&event),
            RunEvent::Data { index, channel, bytes } if !self.closed && !self.is_choked() => {
                let mut piece = Piece { node: index as usize, channel, bytes: &bytes };
                let name = self.nodes.name(piece.node);
                let written = self.dir.as_mut().map_or(Ok(()), |dir| dir.data(piece, name));
                self.keep_dir(written);
                if let Some(limit) = &mut self.limit {
                    piece = limit.admit(piece);
                }
                if !piece.bytes.is_empty() {
                    self.view.data(piece, &self.nodes, &mut self.screen);
                }
            }
            _ => return,
        }
        self.dirty = true;
        self.burst += 1;
    }

    /// Cancelled, and stdout is not read: more output would only fill memory.
    fn is_choked(&self) -> bool {
        self.ending.is_some() && self.screen.is_full()
    }

    fn node(&mut self, event: &ExecNode) {
        let node = event.index as usize;
        self.nodes.note(node, &event.state);
        if self.closed {
            return;
        }
        self.tell(event);
        self.view.node(event, &self.nodes, &mut self.screen);
        if matches!(event.state, NodeState::Ended(_)) {
            if let Some(limit) = &self.limit {
                limit.ended(node, &event.node, &mut self.screen);
            }
            let written = self.dir.as_mut().map_or(Ok(()), |dir| dir.ended(node, &event.node));
            self.keep_dir(written);
        }
    }

    /// What is not as it was asked for; with `-v` also how the node is being reached.
    fn tell(&mut self, event: &ExecNode) {
        let verbose = self.plan.verbose;
        let what = match &event.state {
            NodeState::Executing { no_pty: true, .. } => {
                "it gives no terminal (PermitTTY?); the command runs without one".to_owned()
            }
            NodeState::Connecting { attempt: 2.. } if verbose => "trying again".to_owned(),
            NodeState::Connected(how) if verbose => format!("connected, {}", describe(how)),
            _ => return,
        };
        self.screen.say(&format!("bssh: {}: {what}", event.node));
    }

    /// A directory that cannot be written to is given up; the run goes on.
    fn keep_dir(&mut self, written: Result<(), String>) {
        if let Err(why) = written {
            self.screen.say(&format!("bssh: {why}; no more is written there"));
            self.dir = None;
            self.incomplete = true;
        }
    }

    /// No more events are ready, or enough were taken.
    async fn idle(&mut self) {
        self.dirty = false;
        self.burst = 0;
        let sets = self.view.sets(false);
        if !sets.is_empty() {
            let names = self.folder.fold(&sets, &self.nodes, self.core).await;
            self.view.folded(&names, &self.nodes, &mut self.screen);
        }
        let result = self.screen.flush();
        self.wrote(result).await;
    }

    fn tick(&mut self) {
        self.ticks += 1;
        if self.prompter.is_open() {
            return self.screen.progress("");
        }
        let size = bssh_term::size(rustix::stdio::stderr());
        let width = size.map_or(80, |s| s.cols as usize);
        self.screen.progress(&progress_line(&self.nodes, self.style.err, self.ticks, width));
        self.dirty = true;
    }

    async fn heard(&mut self, signal: Signal) {
        let twice = self.interrupted.is_some_and(|before| before.elapsed() < TWICE);
        if signal != Signal::Interrupt || twice {
            return self.end(signal.status()).await;
        }
        self.interrupted = Some(Instant::now());
        let sets: Vec<_> = [Step::Executing, Step::Connecting, Step::Pending]
            .map(|step| self.nodes.in_step(step))
            .into();
        let names = self.folder.fold(&sets, &self.nodes, self.core).await;
        for line in status_lines(&self.nodes, &names) {
            self.screen.say(&line);
        }
        self.dirty = true;
    }

    /// Cancels the run; its end is still awaited, for a while.
    async fn end(&mut self, status: u8) {
        self.ending = Some((status, Instant::now() + CANCEL_GRACE));
        // A core that does not answer is given up at the deadline.
        let _ = timeout(CANCEL_ANSWER, self.run.cancel(&[])).await;
    }

    async fn wrote(&mut self, result: Result<(), Errno>) {
        let Err(errno) = result else { return };
        if !self.closed {
            let status = cannot_print(errno);
            self.closed = true;
            self.end(status).await;
        }
    }

    async fn report(&mut self, over: &Over) {
        let ok_too = self.style.err_terminal && self.plan.mode == Mode::Blocks && !self.plan.quiet;
        let report = Report::new(&self.nodes, &*self.view, ok_too);
        let names = self.folder.fold(&report.sets(), &self.nodes, self.core).await;
        report.show(&names, self.style, &mut self.screen);
        let wanted = (self.style.err_terminal || self.plan.summary) && !self.plan.quiet;
        if let (Ok(summary), true) = (&over.result, wanted) {
            self.screen.say(&summary_line(summary, self.style.err));
        }
    }
}

/// Signals, or the exit status once it has been said that the system has none to give.
pub(crate) fn listening<S>(signals: io::Result<S>) -> Result<S, u8> {
    signals.map_err(|error| {
        crate::say(&format!("bssh: cannot listen for signals: {error}"));
        exit::GENERAL
    })
}

/// Lines that come as they please would tear the progress line.
fn wants_progress(plan: &ViewPlan, style: Style) -> bool {
    let calm = !matches!(plan.mode, Mode::Stream | Mode::Live { .. } | Mode::Json | Mode::Ping);
    style.err_terminal && !plan.quiet && (calm || !style.out_terminal)
}

fn ticker() -> Interval {
    let mut ticker = interval_at(Instant::now() + PROGRESS_AFTER, PROGRESS_EVERY);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}
