//! Somebody wants to know how it goes: the engines are asked how much each connection has moved, and what
//! they say, or that they say nothing, makes the answer.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::control::Asker;
use super::numbers::Present;
use super::{Monitor, Stop};
use crate::message::{Moved, ToEngine};
use crate::types::Severity;

/// How long engines may take; then the answer has what was known before.
const PATIENCE: Duration = Duration::from_secs(1);

/// A question to all engines.
pub(super) struct Inquiry {
    /// The places of those who have not answered.
    awaited: BTreeSet<usize>,
    /// When they need not answer any more.
    pub(super) until: Instant,
    who: Vec<Wants>,
}

/// Who waits for the answer.
pub(super) enum Wants {
    /// A client of the reporter wants the metrics.
    Metrics(crate::reporter::RequestId),
    /// Somebody wants the table.
    Status(Asker),
}

impl Monitor {
    /// Asks the engines for somebody; whoever comes meanwhile gets the same answer.
    pub(super) fn inquire(&mut self, who: Wants) {
        if let Some(inquiry) = &mut self.inquiry {
            return inquiry.who.push(who);
        }
        let busy = |(place, load): (usize, Option<usize>)| (load? > 0).then_some(place);
        let loads = self.slots.iter().map(|(place, slot)| (*place, slot.load()));
        let awaited: BTreeSet<usize> = loads.filter_map(busy).collect();
        for &place in &awaited {
            self.tell(place, &ToEngine::Report, Vec::new());
        }
        self.inquiry = Some(Inquiry {
            awaited,
            until: Instant::now() + PATIENCE,
            who: vec![who],
        });
        self.answer_inquiry(Instant::now());
    }

    /// An engine says how much some connections have moved; `false`: it speaks of others'.
    pub(super) fn moved(&mut self, place: usize, moved: &[Moved]) -> bool {
        moved.iter().all(|moved| {
            let connection = self.connections.get_mut(&moved.id);
            let own = |c: &&mut Connection| c.engine == place && c.is_served();
            let connection = connection.filter(own);
            connection
                .map(|c| c.count_moved(moved.received, moved.sent, &self.numbers))
                .is_some()
        })
    }

    /// An engine has answered, or will not.
    pub(super) fn reported(&mut self, place: usize) {
        if let Some(inquiry) = &mut self.inquiry
            && inquiry.awaited.remove(&place)
        {
            self.answer_inquiry(Instant::now());
        }
    }

    /// Answers, if there is nothing more to wait for.
    pub(super) fn answer_inquiry(&mut self, now: Instant) {
        let is_over = |inquiry: &mut Inquiry| inquiry.awaited.is_empty() || inquiry.until <= now;
        let Some(inquiry) = self.inquiry.take_if(is_over) else {
            return;
        };
        let (mut metrics, mut status) = (None, None);
        for who in inquiry.who {
            match who {
                Wants::Metrics(id) => {
                    let text = metrics.get_or_insert_with(|| self.metrics());
                    self.answer_metrics(id, text);
                }
                Wants::Status(asker) => {
                    let text = status.get_or_insert_with(|| self.status(now));
                    self.answer_asker(asker, text);
                }
            }
        }
    }

    /// Why new clients are not served; `None`: they are.
    pub(super) fn unready(&self) -> Option<&'static str> {
        match self.stop {
            Stop::Draining | Stop::Now => return Some("stopping"),
            Stop::No => {}
        }
        let serves = self.ready && self.current().any(|(_, slot)| slot.load().is_some());
        (!serves).then_some("no engine")
    }

    fn metrics(&mut self) -> String {
        let slots = self.slots.values();
        let present = Present {
            config: &self.blueprint.config,
            connections: self.connections.values().collect(),
            engines: slots.filter(|slot| slot.load().is_some()).count(),
            ready: self.unready().is_none(),
        };
        self.numbers.text(&present).unwrap_or_else(|e| {
            let line = format!("unable to write metrics: {e}");
            self.logger.say(Severity::Err, &line);
            String::new()
        })
    }
}
