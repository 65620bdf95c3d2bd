//! One transfer seen from the side that asked for it, a frontend or a core that has a node pass files
//! on.

use crate::followed::{Course, Courses, Followed, Taken};
use crate::link::Notification;
use crate::methods::{
    Event, TransferCancel, TransferDoneEvent, TransferFileEvent, TransferNodeEvent,
    TransferProgressEvent,
};
use crate::transfer::{
    NodeProgress, TransferDone, TransferFile, TransferNode, TransferRef, TransferStarted,
};
use std::collections::BTreeMap;

/// A transfer.
pub type Transfer = Followed<Carried>;
/// The transfers of a link.
pub type Transfers = Courses<Carried>;

/// Files on their way.
#[derive(Debug)]
pub struct Carried;

/// What happened in a transfer, in order.
#[derive(Debug)]
pub enum TransferEvent {
    /// A node's state changed.
    Node(TransferNode),
    /// Nodes got on.
    Progress(Vec<NodeProgress>),
    /// What a dry run would do.
    File(TransferFile),
    /// The transfer is over. Nothing follows.
    Done(TransferDone),
    /// The core is gone, with how it ended. Nothing follows.
    Lost(String),
}

impl Course for Carried {
    type Started = TransferStarted;
    type Event = TransferEvent;
    type Progress = BTreeMap<u32, NodeProgress>;
    type Cancel = TransferCancel;

    fn id(started: &TransferStarted) -> u64 {
        started.transfer
    }

    fn nodes(started: &TransferStarted) -> usize {
        started.nodes.len()
    }

    fn cancelling(transfer: u64) -> TransferRef {
        TransferRef { transfer }
    }

    fn progress(progress: Self::Progress) -> TransferEvent {
        TransferEvent::Progress(progress.into_values().collect())
    }

    fn lost(how: String) -> TransferEvent {
        TransferEvent::Lost(how)
    }

    fn is_last(event: &TransferEvent) -> bool {
        matches!(event, TransferEvent::Done(_) | TransferEvent::Lost(_))
    }

    fn take(all: &Transfers, notification: &Notification) -> Taken {
        let said = notification.params.len();
        let taken = match &*notification.method {
            TransferNodeEvent::NAME => notification
                .event::<TransferNodeEvent>()
                .map(|event| all.node(event.transfer, TransferEvent::Node(event), said)),
            TransferProgressEvent::NAME => {
                notification.event::<TransferProgressEvent>().map(|event| {
                    all.got_on(event.transfer, |waiting, nodes| {
                        let known = |node: &NodeProgress| (node.index as usize) < nodes;
                        for node in event.nodes.into_iter().filter(known) {
                            waiting.get_or_insert_default().insert(node.index, node);
                        }
                    })
                })
            }
            TransferFileEvent::NAME => notification
                .event::<TransferFileEvent>()
                .map(|event| all.file(event.transfer, TransferEvent::File(event), said)),
            TransferDoneEvent::NAME => notification
                .event::<TransferDoneEvent>()
                .map(|event| all.done(event.transfer, TransferEvent::Done(event))),
            _ => return Taken::Another,
        };
        taken.unwrap_or(Taken::Yes)
    }
}
