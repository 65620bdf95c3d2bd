//! One sync seen from a frontend.

use crate::core::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::followed::{Course, Courses, Followed, Taken};
use bssh_protocol::link::Notification;
use bssh_protocol::methods::{
    Event, SyncCancel, SyncConflictEvent, SyncDoneEvent, SyncProgressEvent, SyncRoundEvent,
    SyncStart, SyncStateEvent, SyncStepEvent,
};
use bssh_protocol::sync::{
    SyncConflict, SyncParams, SyncProgress, SyncRef, SyncStarted, SyncStateChange, SyncStep, Synced,
};

/// A sync.
pub type Sync = Followed<Syncing>;
/// The syncs of a link.
pub(crate) type Syncs = Courses<Syncing>;

/// Directories being made the same.
#[derive(Debug)]
pub struct Syncing;

/// What happened in a sync, in order.
#[derive(Debug)]
pub enum SyncEvent {
    /// What it is about now.
    State(SyncStateChange),
    /// What would be done with one path.
    Step(SyncStep),
    /// It got on.
    Progress(SyncProgress),
    /// Both sides have changed a path.
    Conflict(SyncConflict),
    /// A round of a watch has done something.
    Round(Synced),
    /// The sync is over. Nothing follows.
    Done(Synced),
    /// The core is gone, with how it ended. Nothing follows.
    Lost(String),
}

impl Core {
    /// Starts a sync.
    ///
    /// # Errors
    /// As [`Core::exec`].
    pub async fn sync(&self, params: &SyncParams) -> Result<Sync, CallError> {
        let (link, syncs) = (self.link().clone(), self.handles.syncs.clone());
        self.begin::<SyncStart, _>(params, move |started| syncs.open(&link, started)).await
    }
}

impl Course for Syncing {
    type Started = SyncStarted;
    type Event = SyncEvent;
    type Progress = SyncProgress;
    type Cancel = SyncCancel;

    fn id(started: &SyncStarted) -> u64 {
        started.sync
    }

    fn nodes(_: &SyncStarted) -> usize {
        1
    }

    fn cancelling(sync: u64) -> SyncRef {
        SyncRef { sync }
    }

    fn progress(progress: SyncProgress) -> SyncEvent {
        SyncEvent::Progress(progress)
    }

    fn lost(how: String) -> SyncEvent {
        SyncEvent::Lost(how)
    }

    fn is_last(event: &SyncEvent) -> bool {
        matches!(event, SyncEvent::Done(_) | SyncEvent::Lost(_))
    }

    fn take(all: &Syncs, notification: &Notification) -> Taken {
        let said = notification.params.len();
        let taken = match &*notification.method {
            SyncStateEvent::NAME => notification
                .event::<SyncStateEvent>()
                .map(|event| all.node(event.sync, SyncEvent::State(event), said)),
            SyncStepEvent::NAME => notification
                .event::<SyncStepEvent>()
                .map(|event| all.file(event.sync, SyncEvent::Step(event), said)),
            SyncProgressEvent::NAME => notification
                .event::<SyncProgressEvent>()
                .map(|event| all.got_on(event.sync, |waiting, _| *waiting = Some(event))),
            SyncConflictEvent::NAME => notification
                .event::<SyncConflictEvent>()
                .map(|event| all.file(event.sync, SyncEvent::Conflict(event.conflict), said)),
            SyncRoundEvent::NAME => notification
                .event::<SyncRoundEvent>()
                .map(|event| all.node(event.sync, SyncEvent::Round(event.result), said)),
            SyncDoneEvent::NAME => notification
                .event::<SyncDoneEvent>()
                .map(|event| all.done(event.sync, SyncEvent::Done(event.result))),
            _ => return Taken::Another,
        };
        taken.unwrap_or(Taken::Yes)
    }
}
