//! `--tui`: a run on the whole screen, for people who would rather look than read.
//!
//! The walk: events of the run and keys change `model` (where everything is), `draw` shows it
//! through `ansi` (cells to bytes), at most every [`FRAME`]. `backlog` keeps what a node has said,
//! `keys` says what a key means. The view owns the terminal from [`Full::enter`] on and gives it
//! back however it ends; a question of the core (a password) takes the screen for as long as it
//! is open. What is left afterwards is what every run ends with: failures and the summary.

mod ansi;
mod backlog;
mod draw;
mod keys;
mod model;

use crate::commands::{Folder, Ui, failed, job, listening, warn};
use crate::output::{Report, Screen, Silent, summary_line};
use crate::request::Request;
use crate::{exit, say};
use ansi::Ansi;
pub(crate) use ansi::leave_screen;
use bssh_client::{Core, Run, RunEvent};
use bssh_protocol::error::CallError;
use bssh_protocol::exec::{ExecParams, Summary};
use bssh_protocol::job::JobAttach;
use bssh_term::Signals;
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use model::{Act, Model};
use ratatui_core::terminal::Terminal;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// Frames are at least so far apart: an eye sees no more, and nodes that flood cost no more.
const FRAME: Duration = Duration::from_millis(50);
/// Clock, spinner, and whether a question is open.
const TICK: Duration = Duration::from_millis(200);
/// How long the core may take to answer that it cancels.
const CANCEL_ANSWER: Duration = Duration::from_secs(2);
/// How long a cancelled run may take to end its remote processes.
const CANCEL_GRACE: Duration = Duration::from_secs(15);

/// How it ended.
struct Over {
    result: Result<Summary, String>,
    /// Somebody wished it to end, with the status for it.
    ended_by: Option<u8>,
    /// It goes on without us.
    detached: bool,
}

/// The screen and the keys, while they are ours.
struct Full {
    terminal: Terminal<Ansi>,
    keys: EventStream,
    guard: ansi::Guard,
}

impl Full {
    fn enter(colors: bool) -> io::Result<Full> {
        let guard = ansi::Guard::enter()?;
        let mut terminal = Terminal::new(Ansi::new(colors))?;
        terminal.clear()?;
        Ok(Full { terminal, keys: EventStream::new(), guard })
    }
}

/// Runs a command on the nodes and shows it until the person leaves; gives the exit status.
pub(crate) async fn tui(core: &Core, request: Request, ui: &Ui) -> u8 {
    if !io::stdout().is_terminal() {
        say("bssh: --tui needs a terminal\nhint: --stream shows lines as they come");
        return exit::USAGE;
    }
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let title = model::title(&request.params.action);
    let started = tokio::select! {
        started = begin(core, request.params) => started,
        signal = signals.next() => return signal.status(),
    };
    let run = match started {
        Ok(run) => run,
        Err(error) => return failed(&error),
    };
    let (run, warnings) = run;
    let mut model = Model::new(title, run.started.nodes.clone(), ui.style.out);
    model.job = core.is_shared().then_some(run.started.run);
    let over = match show(core, run, (&mut model, ui), &mut signals).await {
        Ok(over) => over,
        Err(error) => {
            say(&format!("bssh: the terminal cannot be used: {error}"));
            return exit::GENERAL;
        }
    };
    if !request.view.quiet {
        warn(&warnings);
    }
    if over.detached {
        let job = model.job.unwrap_or_default();
        say(&format!("bssh: the run goes on; bssh job attach {job} shows it again"));
        return job::keep(core, vec![job]).await;
    }
    report(&over, &model, &request.view, (core, ui)).await;
    if let Some(last) = &ui.last {
        let names = model.nodes.names.iter().map(String::as_str);
        // Only @failed and its like suffer.
        let _ = last.save(names.zip(model.nodes.ended.iter().map(Option::as_ref)));
    }
    match (over.ended_by, over.result) {
        (Some(status), _) => status,
        (None, Err(_)) => exit::GENERAL,
        (None, Ok(summary)) => {
            exit::status(request.rule, &summary, model.nodes.ended.iter().map(Option::as_ref))
        }
    }
}

/// Starts the run. A shared core records it, so that it can be left there.
async fn begin(core: &Core, params: ExecParams) -> Result<(Run, Vec<String>), CallError> {
    if !core.is_shared() {
        let run = core.exec(params).await?;
        let warnings = run.started.warnings.clone();
        return Ok((run, warnings));
    }
    let started = core.launch(ExecParams { record: true, ..params }).await?;
    let attach = JobAttach { job: started.run, follow: true, ..JobAttach::default() };
    Ok((core.attach_job(attach).await?, started.warnings))
}

/// A view under way.
struct Showing<'a> {
    core: &'a Core,
    run: Run,
    model: &'a mut Model,
    ui: &'a Ui,
    /// None: a question has the screen.
    full: Option<Full>,
    over: Option<Result<Summary, String>>,
    /// It is being cancelled: the status for that, and until when its end is awaited.
    ending: Option<(u8, Instant)>,
    /// It is left to the core.
    detached: bool,
}

async fn show(
    core: &Core,
    run: Run,
    (model, ui): (&mut Model, &Ui),
    signals: &mut Signals,
) -> io::Result<Over> {
    let full = Some(Full::enter(ui.style.out.colors)?);
    ui.prompter.yield_to_full_screen(true);
    let mut showing =
        Showing { core, run, model, ui, full, over: None, ending: None, detached: false };
    let status = showing.follow(signals).await;
    if let Some(full) = showing.full {
        drop(full.keys);
        drop(full.guard);
    }
    ui.prompter.yield_to_full_screen(false);
    let ended_by = status?.or(showing.ending.map(|(status, _)| status));
    let unknown = || Err("no longer waiting for the run to end".to_owned());
    let detached = showing.detached;
    Ok(Over { result: showing.over.unwrap_or_else(unknown), ended_by, detached })
}

impl Showing<'_> {
    /// Until the person leaves; gives the status of what made it end at once, if anything did.
    async fn follow(&mut self, signals: &mut Signals) -> io::Result<Option<u8>> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_frame = Instant::now();
        loop {
            let act = tokio::select! {
                biased;
                signal = signals.next() => match self.ending {
                    Some(_) => return Ok(Some(signal.status())),
                    None => Act::Cancel(signal.status()),
                },
                event = key(&mut self.full) => match event {
                    Some(Ok(event)) => self.model.event(&event),
                    // The terminal has gone.
                    Some(Err(_)) | None => Act::Cancel(exit::HUNG_UP),
                },
                () = sleep_until(next_frame), if self.model.dirty => {
                    self.draw()?;
                    next_frame = Instant::now() + FRAME;
                    continue;
                }
                _ = ticks.tick() => match self.tick()? {
                    true => return Ok(None),
                    false => continue,
                },
                event = self.run.next(), if self.over.is_none() => match self.happened(event) {
                    true => return Ok(None),
                    false => continue,
                },
            };
            match act {
                Act::Nothing => {}
                Act::Leave => return Ok(None),
                Act::Detach => {
                    self.detached = true;
                    return Ok(None);
                }
                Act::Cancel(status) if self.over.is_some() => return Ok(Some(status)),
                Act::Cancel(status) => self.cancel(status).await,
                Act::Compare => {
                    let sets = self.model.equal_sets();
                    let names = Folder::default().fold(&sets, &self.model.nodes, self.core).await;
                    self.model.compare(&sets, &names);
                }
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        self.model.dirty = false;
        if let Some(full) = &mut self.full {
            full.terminal.draw(|frame| draw::draw(self.model, frame))?;
        }
        Ok(())
    }

    /// True: a cancelled run has had its time.
    fn tick(&mut self) -> io::Result<bool> {
        self.model.tick();
        match (self.ui.prompter.is_open(), self.full.is_some()) {
            (true, true) => {
                self.full = None;
                self.ui.prompter.yield_to_full_screen(false);
            }
            (false, false) => {
                self.ui.prompter.yield_to_full_screen(true);
                self.full = Some(Full::enter(self.ui.style.out.colors)?);
                self.model.dirty = true;
            }
            _ => {}
        }
        let late = self.ending.is_some_and(|(_, until)| Instant::now() >= until);
        Ok(late && self.over.is_none())
    }

    /// True: there is nothing more to wait for.
    fn happened(&mut self, event: Option<RunEvent>) -> bool {
        match event {
            Some(RunEvent::Done(summary)) => self.over = Some(Ok(summary)),
            Some(RunEvent::Lost(how)) => self.over = Some(Err(how)),
            None => self.over = Some(Err("the run ended early".to_owned())),
            Some(event) => self.model.happened(event),
        }
        if let Some(result) = &self.over {
            self.model.over(result.as_ref().err().cloned());
        }
        self.over.is_some() && self.ending.is_some()
    }

    async fn cancel(&mut self, status: u8) {
        self.ending = Some((status, Instant::now() + CANCEL_GRACE));
        self.model.cancelling();
        // A core that does not answer is given up at the deadline.
        let _ = timeout(CANCEL_ANSWER, self.run.cancel(&[])).await;
    }
}

async fn key(full: &mut Option<Full>) -> Option<io::Result<Event>> {
    match full {
        Some(full) => full.keys.next().await,
        None => std::future::pending().await,
    }
}

/// The last words, on the screen as it was before.
async fn report(
    over: &Over,
    model: &Model,
    plan: &crate::request::ViewPlan,
    (core, ui): (&Core, &Ui),
) {
    let mut screen = Screen::default();
    let report = Report::new(&model.nodes, &Silent, false);
    let names = Folder::default().fold(&report.sets(), &model.nodes, core).await;
    report.show(&names, ui.style, &mut screen);
    match &over.result {
        Ok(summary) if !plan.quiet => screen.say(&summary_line(summary, ui.style.err)),
        Ok(_) => {}
        Err(how) => {
            let n_open = model.nodes.ended.iter().filter(|e| e.is_none()).count();
            let n = model.nodes.len();
            screen.say(&format!("bssh: {how}; no result from {n_open} of {n} nodes"));
        }
    }
    // A stderr that has gone cannot be told.
    let _ = screen.drain().await;
}
