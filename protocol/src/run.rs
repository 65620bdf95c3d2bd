//! One run seen from the side that asked for it, a frontend or a core that runs through gateways:
//! the events of its nodes and the bytes of its streams in one queue, in the order they arrived.
//!
//! The queue is bounded. For bytes there is credit: the core may send one window per stream, and
//! gets more as [`Run::next`] hands bytes out; many small pieces become few. So a slow consumer
//! slows the nodes down, and a thousand nodes need no task each. What is said of nodes is little
//! and never dropped; a core that is not our own and says more than it may has lost the run.

use crate::error::CallError;
use crate::exec::{
    CancelRun, ExecDone, ExecNode, ExecStarted, MOST_NAMED, NAMES, NodeState, Output, ResizeRun,
    RunId, SignalRun, Summary,
};
use crate::link::{Link, StreamItem, StreamSender, StreamTarget};
use crate::lock;
use crate::methods::{ExecCancel, ExecResize, ExecSignal};
use crate::stream::{Base64Bytes, StreamId};
use crate::waiting::{Pieces, Words};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Bytes all streams of a run may have on the way or in the queue.
const RUN_BYTES: u64 = 32 << 20;
const LEAST_WINDOW: u64 = 64 << 10;
const MOST_WINDOW: u64 = 1 << 20;

/// First credit of each stream of a run that serves `fanout` nodes at once, in bytes.
pub fn window_for(fanout: u32) -> u64 {
    (RUN_BYTES / (2 * u64::from(fanout.max(1)))).clamp(LEAST_WINDOW, MOST_WINDOW)
}

/// Which of a node's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    Stdout,
    Stderr,
}

/// What happened in a run, in order. A node's `ended` event follows all of its data.
#[derive(Debug)]
pub enum RunEvent {
    /// A node's state changed.
    Node(ExecNode),
    /// A node sent bytes.
    Data { index: u32, channel: Channel, bytes: Bytes },
    /// A node's stream ended; with an error if it was cut off.
    End { index: u32, channel: Channel, error: Option<CallError> },
    /// The run is over. Nothing follows.
    Done(Summary),
    /// The core is gone, with how it ended. Nothing follows.
    Lost(String),
}

/// A run. Dropping it before it is done cancels it.
#[derive(Debug)]
pub struct Run {
    /// The answer of `exec/start`: the run's nodes in order.
    pub started: ExecStarted,
    link: Link,
    runs: Arc<Runs>,
    queue: Arc<Queue>,
    stdin: Option<StreamSender>,
    over: bool,
    /// It ends when it is dropped.
    owned: bool,
}

/// The runs of a link. Its service gives them their events, and says when the link is lost.
#[derive(Debug, Default)]
pub struct Runs {
    strict: bool,
    open: Mutex<HashMap<RunId, Arc<Queue>>>,
    /// Output that has a name, newest last. Twice as much as can be named.
    named: Mutex<VecDeque<(Base64Bytes, [Bytes; 2])>>,
}

struct Queue {
    window: u64,
    nodes: usize,
    events: Mutex<Waiting>,
    arrived: Notify,
    /// What nodes under way have said, where output may be named.
    said: Mutex<Option<HashMap<u32, [Vec<u8>; 2]>>>,
}

/// What was not taken yet.
#[derive(Default)]
struct Waiting {
    queue: VecDeque<Queued>,
    /// None: our own core's.
    words: Option<Words>,
    /// How many were taken.
    taken: u64,
    /// Where each stream's last bytes are, counted from the first event.
    last: HashMap<StreamId, u64>,
    /// The streams of each node: it has them once.
    streams: HashMap<u32, [Option<StreamId>; 2]>,
}

enum Queued {
    /// With how many bytes were said.
    Event(Box<RunEvent>, usize),
    Bytes {
        stream: StreamId,
        index: u32,
        channel: Channel,
        pieces: Pieces,
    },
}

/// With so many events waiting, bytes are put together with those of their stream before them.
const FEW: usize = 1024;
/// What may wait of what is said about a run, and for each of its nodes, in bytes.
const SAID: usize = 256 << 10;

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} events)", lock(&self.events).queue.len())
    }
}

impl Run {
    /// The next event; waits for one. None after `Done` or `Lost`. Taking `Data` gives the node
    /// credit for as many bytes.
    pub async fn next(&mut self) -> Option<RunEvent> {
        while !self.over {
            let queued = lock(&self.queue.events).pop();
            match queued {
                None => self.queue.arrived.notified().await,
                Some(Queued::Bytes { stream, index, channel, pieces }) => {
                    let bytes = pieces.whole();
                    self.link.consumed(stream, bytes.len());
                    return Some(RunEvent::Data { index, channel, bytes });
                }
                Some(Queued::Event(event, _)) => {
                    self.over = matches!(*event, RunEvent::Done(_) | RunEvent::Lost(_));
                    return Some(*event);
                }
            }
        }
        None
    }

    /// Somebody else's run, which goes on when we look away.
    #[must_use]
    pub fn watched(mut self) -> Run {
        self.owned = false;
        self
    }

    /// It was started with `gather`: output that is only named is put in its place.
    #[must_use]
    pub fn gathered(self) -> Run {
        *lock(&self.queue.said) = Some(HashMap::new());
        self
    }

    /// The sending end of stdin, once, if the run was started with `stdin: stream`.
    pub fn stdin(&mut self) -> Option<StreamSender> {
        self.stdin.take()
    }

    /// Ends the remote processes of these nodes (indices; empty: of all).
    ///
    /// # Errors
    /// The core's answer, e.g. `handle.unknown` for a run that is over.
    pub async fn cancel(&self, nodes: &[u32]) -> Result<(), CallError> {
        let params = CancelRun { run: self.started.run, nodes: nodes.to_vec() };
        self.link.call::<ExecCancel>(&params).await.map(drop)
    }

    /// Sends a signal (its name without `SIG`) to the remote processes of all nodes.
    ///
    /// # Errors
    /// As [`Run::cancel`].
    pub async fn signal(&self, signal: &str) -> Result<(), CallError> {
        let run = self.started.run;
        let params = SignalRun { run, nodes: Vec::new(), signal: signal.to_owned() };
        self.link.call::<ExecSignal>(&params).await.map(drop)
    }

    /// Tells the terminals of the run their new size.
    ///
    /// # Errors
    /// As [`Run::cancel`].
    pub async fn resize(&self, cols: u32, rows: u32) -> Result<(), CallError> {
        let run = self.started.run;
        let params = ResizeRun { run, cols, rows, px_width: 0, px_height: 0 };
        self.link.call::<ExecResize>(&params).await.map(drop)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let run = self.started.run;
        let known = lock(&self.runs.open).remove(&run).is_some();
        if known && !self.over && self.owned {
            self.link.ask::<ExecCancel>(&CancelRun { run, nodes: Vec::new() });
        }
    }
}

impl Runs {
    /// Those of a core that is not our own: what it says of nodes is bounded.
    pub fn strict() -> Runs {
        Runs { strict: true, ..Runs::default() }
    }

    /// Makes a run known. Called by the reader, before it reads the run's first event.
    pub fn open(self: &Arc<Self>, link: &Link, started: ExecStarted, windows: Windows) -> Run {
        let queue = Arc::new(Queue {
            window: windows.output,
            nodes: started.nodes.len(),
            events: Mutex::new(Waiting {
                words: self.strict.then(|| Words::new(SAID, started.nodes.len())),
                ..Waiting::default()
            }),
            arrived: Notify::new(),
            said: Mutex::default(),
        });
        lock(&self.open).insert(started.run, queue.clone());
        let stdin = started.stdin.map(|id| link.sender(id, windows.stdin));
        Run {
            started,
            link: link.clone(),
            runs: self.clone(),
            queue,
            stdin,
            over: false,
            owned: true,
        }
    }

    /// This run is followed.
    pub fn knows(&self, run: RunId) -> bool {
        lock(&self.open).contains_key(&run)
    }

    /// Takes an `exec/node` event of so many bytes; one of a run nobody follows is dropped. False:
    /// the core says more than it may, and the run is lost.
    pub fn node(&self, link: &Link, mut event: ExecNode, said: usize) -> bool {
        let Some(queue) = lock(&self.open).get(&event.run).cloned() else { return true };
        let (run, index) = (event.run, event.index);
        let streams = match &event.state {
            NodeState::Executing { stdout, stderr, .. } => [*stdout, *stderr],
            _ => [None, None],
        };
        let news = match queue.allows(index, streams, said) {
            Some(news) => news,
            None => {
                lock(&self.open).remove(&run);
                let how = "more was said of its nodes than may be".to_owned();
                queue.push(RunEvent::Lost(how), 0);
                return false;
            }
        };
        self.put_in_place(&queue, &mut event);
        queue.push(RunEvent::Node(event), said);
        for (stream, channel) in streams.into_iter().zip([Channel::Stdout, Channel::Stderr]) {
            if let Some(id) = stream.filter(|_| news) {
                let target = Arc::new(Target { queue: queue.clone(), index, channel });
                link.receive_into(id, queue.window, u64::from(id), target);
            }
        }
        true
    }

    /// Keeps output that is named for the first time; gives a node the output that is named again.
    /// A name that nobody has given stays in the event.
    fn put_in_place(&self, queue: &Queue, event: &mut ExecNode) {
        let NodeState::Ended(ended) = &mut event.state else { return };
        let Some(said) = lock(&queue.said).as_mut().map(|all| all.remove(&event.index)) else {
            return;
        };
        let mut named = lock(&self.named);
        match ended.output.take().map(|output| *output) {
            None => {}
            Some(Output::New(name)) => {
                named.push_back((name, said.unwrap_or_default().map(Bytes::from)));
                if named.len() > 2 * NAMES {
                    named.pop_front();
                }
            }
            Some(Output::Same(name)) => match named.iter().find(|(known, _)| *known == name) {
                Some((_, said)) => queue.say(event.index, said),
                None => ended.output = Some(Box::new(Output::Same(name))),
            },
        }
    }

    /// Takes an `exec/done` event.
    pub fn done(&self, done: ExecDone) {
        if let Some(queue) = lock(&self.open).remove(&done.run) {
            queue.push(RunEvent::Done(done.summary), 0);
        }
    }

    /// The core is gone: so are its runs.
    pub fn lost(&self, how: &str) {
        for (_, queue) in lock(&self.open).drain() {
            queue.push(RunEvent::Lost(how.to_owned()), 0);
        }
    }
}

/// First credit of a run's streams, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    pub output: u64,
    pub stdin: u64,
}

impl Waiting {
    fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.taken += 1;
        if let (Queued::Event(_, said), Some(words)) = (&queued, &mut self.words) {
            words.taken(*said);
        }
        Some(queued)
    }

    /// Queues bytes of a stream.
    fn bytes(&mut self, stream: StreamId, (index, channel): (u32, Channel), bytes: Bytes) {
        let next = self.taken + self.queue.len() as u64;
        if self.queue.len() >= FEW
            && let Some(at) = self.last.get(&stream).and_then(|at| at.checked_sub(self.taken))
            && let Ok(at) = usize::try_from(at)
            && let Some(Queued::Bytes { pieces, .. }) = self.queue.get_mut(at)
            && pieces.join(&bytes)
        {
            return;
        }
        self.last.insert(stream, next);
        self.queue.push_back(Queued::Bytes { stream, index, channel, pieces: Pieces::One(bytes) });
    }
}

impl Queue {
    /// Queues an event, with how many bytes were said.
    fn push(&self, event: RunEvent, said: usize) {
        lock(&self.events).queue.push_back(Queued::Event(Box::new(event), said));
        self.arrived.notify_one();
    }

    /// Whether so much may be said of a node, with these streams. Some(true): they are new.
    fn allows(&self, index: u32, streams: [Option<StreamId>; 2], said: usize) -> Option<bool> {
        let mut waiting = lock(&self.events);
        let Some(words) = &mut waiting.words else { return Some(true) };
        if index as usize >= self.nodes || !words.add(said) {
            return None;
        }
        if streams == [None, None] {
            return Some(false);
        }
        match waiting.streams.insert(index, streams) {
            None => Some(true),
            Some(before) => (before == streams).then_some(false),
        }
    }

    /// Notes what a node says, if it may be named.
    fn note(&self, index: u32, channel: Channel, bytes: &[u8]) {
        if let Some(said) = &mut *lock(&self.said) {
            let [stdout, stderr] = said.entry(index).or_default();
            let kept = if channel == Channel::Stdout { stdout } else { stderr };
            // What is longer has no name.
            kept.extend_from_slice(
                bytes.get(..MOST_NAMED.saturating_sub(kept.len())).unwrap_or(bytes),
            );
        }
    }

    /// A node has said this.
    fn say(&self, index: u32, said: &[Bytes; 2]) {
        for (bytes, channel) in said.iter().zip([Channel::Stdout, Channel::Stderr]) {
            if !bytes.is_empty() {
                let bytes = bytes.clone();
                self.push(RunEvent::Data { index, channel, bytes }, 0);
            }
        }
    }
}

/// Where one stream of one node goes. The tag is the stream's id.
struct Target {
    queue: Arc<Queue>,
    index: u32,
    channel: Channel,
}

impl StreamTarget for Target {
    fn deliver(&self, tag: u64, item: StreamItem) {
        let (index, channel) = (self.index, self.channel);
        let end = |error| RunEvent::End { index, channel, error };
        match item {
            StreamItem::Data(bytes) => {
                self.queue.note(index, channel, &bytes);
                let stream = StreamId::try_from(tag).unwrap_or_default();
                lock(&self.queue.events).bytes(stream, (index, channel), bytes);
                self.queue.arrived.notify_one();
            }
            StreamItem::End => self.queue.push(end(None), 0),
            StreamItem::Reset(error) => self.queue.push(end(Some(error)), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_pieces_become_few_and_stay_whole() {
        let mut waiting = Waiting::default();
        for n in 0..200_000_u32 {
            let (stream, channel) = match n % 2 {
                0 => (4, Channel::Stdout),
                _ => (5, Channel::Stderr),
            };
            waiting.bytes(stream, (0, channel), Bytes::copy_from_slice(&[(n / 2) as u8]));
        }
        assert!(waiting.queue.len() < FEW + 10, "{}", waiting.queue.len());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(Queued::Bytes { channel, pieces, .. }) = waiting.pop() {
            let to = if channel == Channel::Stdout { &mut out } else { &mut err };
            to.extend_from_slice(&pieces.whole());
        }
        let want: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        assert!(out == want && err == want, "{} {}", out.len(), err.len());
        // Once few wait, they come as they were.
        waiting.bytes(4, (0, Channel::Stdout), Bytes::from_static(b"a"));
        waiting.bytes(4, (0, Channel::Stdout), Bytes::from_static(b"b"));
        assert_eq!(waiting.queue.len(), 2);
    }
}
