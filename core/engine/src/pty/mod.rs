//! Ptys: a channel with a terminal, a tape of its output, and views that read the tape.
//!
//! Bytes only; what they draw is the frontend's business. One task per pty reads the channel
//! (`carry`), one per view sends (`view`). A pty belongs to the link that opened it and ends with
//! it. Policy for a slow view: the owner of the input makes the node wait if the connection
//! carries nothing else, and otherwise falls back on the tape's file; others lose the oldest.

mod carry;
mod tape;
mod view;

use crate::agent::Wish;
use crate::engine::{Caller, Engine};
use crate::failure::failure;
use crate::journal::Noted;
use crate::lanes::{Seat, Wanted};
use crate::plan::{Planner, Route};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{self, Exit, Failure};
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::methods::{PtyInputOwnerEvent, PtyResizedEvent};
use bssh_protocol::pty::{
    PTY_REPLAY, PTY_WINDOW, PtyAttach, PtyAttached, PtyEntry, PtyFrom, PtyId, PtyInput,
    PtyInputOwner, PtyList, PtyOpenParams, PtyOpened, PtyRef, PtyResize, PtyResized, PtyView,
    PtyWrite,
};
use bssh_protocol::stream::StreamId;
use bssh_ssh::error::{Error, ErrorKind, Phase};
use bssh_ssh::{Channel, ChannelWriter, PtyRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tape::{Piece, Tape};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use view::View;

/// The most a pty keeps for later views, in bytes.
const MOST_REPLAY: u64 = 16 << 20;

/// A view, among those of its pty.
type ViewId = u64;

/// Every pty of a link.
#[derive(Default)]
pub(crate) struct Ptys {
    open: Mutex<BTreeMap<PtyId, Arc<Pty>>>,
}

/// One pty.
pub(crate) struct Pty {
    id: PtyId,
    node: String,
    command: Option<String>,
    link: Link,
    writer: ChannelWriter,
    tape: Tape,
    desk: Mutex<Desk>,
    /// Views and inputs; they end with the pty.
    tasks: Mutex<JoinSet<()>>,
    /// Somebody types: the channel must be read, or the keys would wait behind its output.
    typing: AtomicUsize,
    closing: Notify,
    noted: Noted,
    begun: Instant,
}

/// Who looks and who types.
#[derive(Default)]
struct Desk {
    cols: u32,
    rows: u32,
    views: BTreeMap<ViewId, Arc<View>>,
    /// The view numbered last.
    last: ViewId,
    owner: Option<ViewId>,
    /// The task that reads the owner's input.
    input: Option<tokio::task::AbortHandle>,
    ended: bool,
}

impl Ptys {
    fn open(&self) -> MutexGuard<'_, BTreeMap<PtyId, Arc<Pty>>> {
        lock(&self.open)
    }

    pub(crate) fn has(&self, id: PtyId) -> bool {
        self.open().contains_key(&id)
    }

    /// Hangs up on all but these.
    pub(crate) fn close_but(&self, kept: &BTreeSet<u64>) {
        for (_, pty) in self.open().iter().filter(|(id, _)| !kept.contains(id)) {
            pty.closing.notify_one();
        }
    }
}

/// A pty that is about to go: answer first, then [`Engine::pty_launch`].
pub struct PreparedPty {
    pub opened: PtyOpened,
    pty: Arc<Pty>,
    channel: Channel,
    seat: Seat,
}

impl Engine {
    /// `pty/open`: connects if need be, and starts the shell or the command.
    ///
    /// # Errors
    /// What is wrong with the request; why the node has no terminal for us, as `disconnected`.
    pub async fn pty_open(
        &self,
        caller: &Caller,
        params: PtyOpenParams,
    ) -> Result<PreparedPty, CallError> {
        let planner = Planner::new(
            self.env(),
            &params.targets.settings,
            params.targets.destination.is_none(),
        )?;
        let (route, _) = self.one_route(&params.targets).await?;
        let route = route.forwarding(params.forward_agent);
        let started = self.pty_start(caller, &route, &params).await;
        let (seat, channel) = started.map_err(|e| refused(&route.plan.node, &failure(&e)))?;
        let replay = params.replay.unwrap_or(PTY_REPLAY).min(MOST_REPLAY);
        let id = self.new_id();
        let title = params.command.as_deref().unwrap_or("shell");
        let noted = self.note("pty", id, &format!("{}: {title}", route.plan.node));
        let pty = Arc::new(Pty {
            id,
            node: route.plan.node.clone(),
            command: params.command,
            link: caller.link.clone(),
            writer: channel.writer(),
            tape: Tape::new(usize::try_from(replay).unwrap_or(usize::MAX)),
            desk: Mutex::new(Desk { cols: params.cols, rows: params.rows, ..Desk::default() }),
            tasks: Mutex::default(),
            typing: AtomicUsize::new(0),
            closing: Notify::new(),
            noted,
            begun: Instant::now(),
        });
        let (view, output) = pty.show(&caller.link, params.window.unwrap_or(PTY_WINDOW), 0);
        let input = pty.take_input(view, &caller.link);
        let opened = PtyOpened {
            pty: id,
            node: pty.node.clone(),
            output,
            input,
            warnings: planner.warnings(),
        };
        self.ptys.open().insert(id, pty.clone());
        Ok(PreparedPty { opened, pty, channel, seat })
    }

    /// Carries the bytes of a pty until it ends; run it once the answer is on its way.
    pub async fn pty_launch(self: Arc<Self>, prepared: PreparedPty) {
        let PreparedPty { opened, pty, channel, seat } = prepared;
        if let Ok((_, view)) = pty.view(&pty.link, opened.output) {
            view.begin();
        }
        let engine = self.clone();
        self.spawn(async move {
            carry::carry(&pty, channel, &seat).await;
            engine.ptys.open().remove(&pty.id);
            engine.commons.tell();
        })
        .await;
    }

    async fn pty_start(
        &self,
        caller: &Caller,
        route: &Arc<Route>,
        params: &PtyOpenParams,
    ) -> Result<(Seat, Channel), Error> {
        let ask = self.ask_for(Engine::asking(caller));
        let (seat, mut channel) = self.lanes.open(self.pool(), (route, Wanted::Any), &ask).await?;
        let wish = Wish {
            lease: seat.lease(),
            route,
            forward: params.forward_agent,
            settings: params.agent.as_ref(),
            questions: Engine::asking(caller),
        };
        let offer = self.offer_agent(&wish, &mut channel).await?;
        let terminal = PtyRequest {
            term: params.term.clone(),
            cols: params.cols,
            rows: params.rows,
            px_width: params.px_width,
            px_height: params.px_height,
            modes: params.modes.clone(),
        };
        channel.request_pty(&terminal).await?;
        let asked = params.env.iter();
        for (name, value) in route.env.iter().map(|(n, v)| (n, v)).chain(asked) {
            channel.env(name, value).await?;
        }
        match &params.command {
            Some(command) => channel.exec(command.as_bytes()).await?,
            None => channel.shell().await?,
        }
        if channel.terminal_refused() {
            // Dropped, the channel takes along what was started without one.
            let what = "terminal".to_owned();
            return Err(Error::new(Phase::Channel, ErrorKind::RequestRefused { what }));
        }
        if let Some(offer) = offer {
            offer.settle(&channel).await;
        }
        Ok((seat, channel))
    }

    /// `pty/write`.
    ///
    /// # Errors
    /// `handle.unknown`; `handle.notOwner` when no view of this link owns the input.
    pub async fn pty_write(&self, caller: &Caller, params: PtyWrite) -> Result<(), CallError> {
        let pty = self.pty(params.pty)?;
        if !pty.desk().owner_is(&caller.link) {
            let text = "no view of this link owns the input; take it with pty/takeInput";
            return Err(CallError::new(Kind::HandleNotOwner, text).at("params.pty"));
        }
        let bytes = match (params.data, params.text) {
            (Some(data), None) => data.0,
            (None, Some(text)) => text.into_bytes().into(),
            _ => {
                let text = "either data or text";
                return Err(CallError::new(Kind::InvalidParams, text).at("params.data"));
            }
        };
        pty.typed(bytes).await;
        Ok(())
    }

    /// `pty/resize`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub async fn pty_resize(&self, params: &PtyResize) -> Result<(), CallError> {
        let pty = self.pty(params.pty)?;
        let (cols, rows) = (params.cols, params.rows);
        {
            let mut desk = pty.desk();
            (desk.cols, desk.rows) = (cols, rows);
        }
        let size = PtyRequest {
            cols,
            rows,
            px_width: params.px_width,
            px_height: params.px_height,
            ..PtyRequest::default()
        };
        // A channel that has ended says so when it is read.
        let _ = pty.writer.window_change(&size).await;
        for view in pty.links() {
            view.link.try_notify::<PtyResizedEvent>(&PtyResized { pty: pty.id, cols, rows });
        }
        Ok(())
    }

    /// `pty/attach`.
    ///
    /// # Errors
    /// `handle.unknown`; `replay.expired`.
    pub fn pty_attach(
        &self,
        caller: &Caller,
        params: &PtyAttach,
    ) -> Result<PtyAttached, CallError> {
        let pty = self.pty(params.pty)?;
        let (start, end) = pty.tape.range();
        let at = match params.from {
            PtyFrom::Replay => start,
            PtyFrom::Live => end,
            PtyFrom::Offset(at) if at > end => {
                let text = format!("params.from: the output has {end} bytes so far");
                return Err(CallError::new(Kind::InvalidParams, text).at("params.from"));
            }
            PtyFrom::Offset(at) => match pty.tape.read(at, 1) {
                Piece::Gone(to) => {
                    let text = format!("bytes before {to} are no longer kept");
                    return Err(CallError::new(Kind::ReplayExpired, text).at("params.from"));
                }
                _ => at,
            },
        };
        let link = &caller.link;
        let (view, output) = pty.show(link, params.window.unwrap_or(PTY_WINDOW), at);
        let input = (!params.read_only).then(|| pty.take_input(view, link));
        let (cols, rows) = {
            let desk = pty.desk();
            (desk.cols, desk.rows)
        };
        Ok(PtyAttached { output, at, input, cols, rows })
    }

    /// `pty/detach`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn pty_detach(&self, caller: &Caller, params: &PtyView) -> Result<(), CallError> {
        let pty = self.pty(params.pty)?;
        pty.view(&caller.link, params.output)?.1.leave();
        Ok(())
    }

    /// `pty/takeInput`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn pty_take_input(&self, caller: &Caller, params: &PtyView) -> Result<PtyInput, CallError> {
        let pty = self.pty(params.pty)?;
        let (view, _) = pty.view(&caller.link, params.output)?;
        Ok(PtyInput { input: pty.take_input(view, &caller.link) })
    }

    /// Lets a view send, and tells whether it owns the input; run it once the answer is on its
    /// way.
    pub async fn pty_begin(self: Arc<Self>, link: Link, id: PtyId, output: StreamId) {
        let Ok(pty) = self.pty(id) else { return };
        let Ok((view, shown)) = pty.view(&link, output) else { return };
        shown.begin();
        let is_owner = pty.desk().owner == Some(view);
        if is_owner {
            pty.tell_owner();
        }
    }

    /// `pty/close`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn pty_close(&self, params: &PtyRef) -> Result<(), CallError> {
        self.pty(params.pty)?.closing.notify_one();
        Ok(())
    }

    /// `pty/list`.
    pub fn pty_list(&self) -> PtyList {
        PtyList { ptys: self.commons.engines().iter().flat_map(|e| e.own_ptys()).collect() }
    }

    /// A pty of this link, or of another one of the core.
    fn pty(&self, id: PtyId) -> Result<Arc<Pty>, CallError> {
        let own = self.ptys.open().get(&id).cloned();
        let engines = || self.commons.engines();
        let any = || engines().iter().find_map(|e| e.ptys.open().get(&id).cloned());
        let text = || format!("no pty {id}");
        let unknown = || CallError::new(Kind::HandleUnknown, text()).at("params.pty");
        own.or_else(any).ok_or_else(unknown)
    }

    pub(crate) fn own_ptys(&self) -> Vec<PtyEntry> {
        self.ptys.open().values().map(|pty| pty.entry()).collect()
    }
}

impl Pty {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        lock(&self.tasks)
    }

    /// A view by its link's name for it.
    fn view(&self, link: &Link, output: StreamId) -> Result<(ViewId, Arc<View>), CallError> {
        let text = || format!("pty {} has no view {output} on this link", self.id);
        let unknown = || CallError::new(Kind::HandleUnknown, text()).at("params.output");
        let desk = self.desk();
        let mut views = desk.views.iter();
        let found = views.find(|(_, view)| view.output == output && view.link.is(link));
        found.map(|(id, view)| (*id, view.clone())).ok_or_else(unknown)
    }

    /// One view of each link.
    fn links(&self) -> Vec<Arc<View>> {
        let mut links: Vec<Arc<View>> = Vec::new();
        for view in self.desk().views.values() {
            if !links.iter().any(|known| known.link.is(&view.link)) {
                links.push(view.clone());
            }
        }
        links
    }

    /// Tells every link which of its views types, if any. One that does not read misses it.
    fn tell_owner(&self) {
        let owner = {
            let desk = self.desk();
            desk.owner.and_then(|owner| desk.views.get(&owner).cloned())
        };
        for view in self.links() {
            let own = owner.as_ref().filter(|owner| owner.link.is(&view.link));
            let event = PtyInputOwner { pty: self.id, output: own.map(|owner| owner.output) };
            view.link.try_notify::<PtyInputOwnerEvent>(&event);
        }
    }

    fn entry(&self) -> PtyEntry {
        let (start, end) = self.tape.range();
        let desk = self.desk();
        PtyEntry {
            pty: self.id,
            node: self.node.clone(),
            command: self.command.clone(),
            cols: desk.cols,
            rows: desk.rows,
            views: u32::try_from(desk.views.len()).unwrap_or(u32::MAX),
            owner: desk.owner.and_then(|owner| desk.views.get(&owner)).map(|view| view.output),
            bytes: end,
            kept: end - start,
            running_ms: crate::run::millis(self.begun.elapsed()),
        }
    }
}

/// Why a node has no terminal for us, as an error of the call.
fn refused(node: &str, failure: &Failure) -> CallError {
    let error = CallError::new(Kind::Disconnected, format!("{node}: {}", failure.message));
    failure.hint.as_ref().map_or(error.clone(), |hint| error.hint(hint.clone()))
}

/// How a pty ended.
#[derive(Default)]
struct End {
    exit: Option<Exit>,
    failure: Option<Failure>,
    /// The connection was lost before all was told.
    cut: bool,
}

/// A terminal, as it is asked for.
pub(crate) fn terminal(pty: &exec::PtyRequest) -> PtyRequest {
    PtyRequest {
        term: pty.term.clone(),
        cols: pty.cols,
        rows: pty.rows,
        px_width: pty.px_width,
        px_height: pty.px_height,
        modes: pty.modes.clone(),
    }
}
