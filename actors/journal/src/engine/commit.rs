//! Making turns durable, and then letting out what they have come to.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    Engine,
    active::{Asker, Courier, Source},
    outbox::Pair,
    timers::Key,
};
use crate::{
    events::JournalEvent,
    id::ActorId,
    packed::Packed,
    publication::Publication,
    store::{Batch, StoreError},
    turn::Sending,
    wire::{Refusal, Taken},
    writer::{Closing, Word},
};

/// Rounds of the thread in which nothing more came: then nothing comes at once.
const QUIET: u32 = 3;

/// How long a commit waits for more at most, while more comes.
const LONGEST: Duration = Duration::from_millis(1);

/// What a turn does to the world, once it is durable.
pub(crate) enum Release {
    Answer(Asker, Result<Bytes, Refusal>),
    Send(ActorId, Sending),
    Timer(Key, Packed),
    Publish(ActorId, u64, Publication),
    /// A message of another actor here has been taken.
    Took(ActorId, Packed),
    Tell(Courier, Taken),
    /// How often the message in front has been tried is written down.
    Noted(ActorId),
    /// Rows of acknowledged messages are gone.
    Trimmed(Pair),
    Say(JournalEvent),
    Done(oneshot::Sender<()>),
}

/// What an answer takes beside its own bytes.
const READ_BYTES: usize = 128;

/// What waits for a ticket.
pub(super) struct Awaiting {
    ticket: u64,
    bytes: usize,
    releases: Vec<Release>,
    reads: Vec<Read>,
}

/// An answer that comes of memory alone. The rows that it waits for are not its own.
struct Read {
    asker: Asker,
    answer: Result<Bytes, Refusal>,
    /// The commit that it waits for was not handed over yet when it was read: that nobody else wrote before the commit shows that it was not old.
    /// A commit that was under way may have been done before another writer took over, and the answer read after that.
    is_shown: bool,
}

impl Read {
    fn bytes(&self) -> usize {
        READ_BYTES + self.answer.as_ref().map_or(0, Bytes::len)
    }

    fn release(self) -> Release {
        Release::Answer(self.asker, self.answer)
    }
}

/// What goes to the writer with the next commit.
#[derive(Default)]
pub(super) struct Group {
    batch: Batch,
    /// A commit is under way: the next one takes what comes meanwhile.
    is_under_way: bool,
    /// It waits for more.
    gathers: bool,
    /// The last ticket that the writer has.
    handed: u64,
}

impl Engine {
    /// Makes rows durable, and then does this.
    pub(crate) fn submit(&mut self, batch: Batch, releases: Vec<Release>) -> u64 {
        self.ticket += 1;
        let (ticket, bytes) = (self.ticket, batch.bytes());
        self.uncommitted += bytes;
        self.awaiting.push_back(Awaiting { ticket, bytes, releases, reads: Vec::new() });
        self.group.batch.append(batch);
        self.gather();
        ticket
    }

    /// Hands what has come together to the writer, once it is free and nothing more comes at once.
    ///
    /// Whoever was answered by the last commit asks again within some rounds of this thread. Without waiting for them each commit would
    /// serve one half of the askers, in turns.
    fn gather(&mut self) {
        if self.group.is_under_way || self.group.gathers || self.failed.is_some() {
            return;
        }
        self.group.gathers = true;
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            let begun = tokio::time::Instant::now();
            let (mut last, mut quiet) = (0, 0);
            while quiet < QUIET && begun.elapsed() < LONGEST {
                tokio::task::yield_now().await;
                let Some(core) = me.upgrade() else { return };
                let ticket = core.borrow().ticket;
                quiet = if ticket == last { quiet + 1 } else { 0 };
                last = ticket;
            }
            if let Some(core) = me.upgrade() {
                core.borrow_mut().hand_over();
            }
        });
    }

    fn hand_over(&mut self) {
        let batch = std::mem::take(&mut self.group.batch);
        (self.group.gathers, self.group.is_under_way) = (false, true);
        self.group.handed = self.ticket;
        if let Err(error) = self.writer.commit(self.ticket, batch) {
            self.fail(&error);
        }
    }

    /// Tells an asker what memory says, once the turn that it has this of is durable, and if no other writer has taken over meanwhile.
    pub(super) fn answer_at(&mut self, ticket: u64, asker: Asker, answer: Result<Bytes, Refusal>) {
        if ticket <= self.durable {
            if self.writer.is_sole() {
                return self.release(Release::Answer(asker, answer));
            }
            let read = Read { asker, answer, is_shown: true };
            self.uncommitted += read.bytes();
            return self.show(vec![read]);
        }
        let is_shown = ticket > self.group.handed;
        match self.awaiting.binary_search_by_key(&ticket, |awaiting| awaiting.ticket) {
            Ok(index) => {
                let read = Read { asker, answer, is_shown };
                // Turns that only read wait as well, rather than pile up their answers while the store is away.
                self.uncommitted += read.bytes();
                self.awaiting[index].reads.push(read);
            }
            // The store has failed meanwhile, and nothing waits any more.
            Err(_) => self.abandon(Release::Answer(asker, answer)),
        }
    }

    /// Does this once a turn is durable.
    pub(super) fn release_at(&mut self, ticket: u64, release: Release) {
        if ticket <= self.durable {
            return self.release(release);
        }
        match self.awaiting.binary_search_by_key(&ticket, |awaiting| awaiting.ticket) {
            Ok(index) => self.awaiting[index].releases.push(release),
            // The store has failed meanwhile, and nothing waits any more.
            Err(_) => self.abandon(release),
        }
    }

    /// What memory says is old if another writer has taken over: a commit of nothing shows that none has.
    fn show(&mut self, reads: Vec<Read>) {
        if self.failed.is_some() {
            return reads.into_iter().for_each(|read| self.abandon(read.release()));
        }
        self.submit(Batch::default(), Vec::new());
        if let Some(last) = self.awaiting.back_mut() {
            let shown = reads.into_iter().map(|read| Read { is_shown: true, ..read });
            last.reads.extend(shown);
        }
    }

    /// The writer has said something.
    pub(crate) fn hear(&mut self, word: Word) {
        let upto = match word {
            Ok(upto) => upto,
            Err(error) => return self.fail(&error),
        };
        self.stats.commits += 1;
        self.durable = upto;
        self.points.pass("release.before");
        let mut unshown = Vec::new();
        while self.awaiting.front().is_some_and(|awaiting| awaiting.ticket <= upto) {
            let Some(Awaiting { bytes, releases, reads, .. }) = self.awaiting.pop_front() else {
                break;
            };
            self.uncommitted -= bytes;
            self.stats.bytes += bytes as u64;
            for release in releases {
                self.release(release);
                self.points.pass("release.between");
            }
            for read in reads {
                if read.is_shown || self.writer.is_sole() {
                    self.uncommitted -= read.bytes();
                    self.release(read.release());
                } else {
                    unshown.push(read);
                }
            }
        }
        self.points.pass("release.after");
        if !unshown.is_empty() {
            self.show(unshown);
        }
        self.group.is_under_way = false;
        if self.ticket > self.durable {
            self.gather();
        }
        for id in std::mem::take(&mut self.stalled) {
            self.is_ready(&id);
        }
        self.work();
    }

    fn release(&mut self, release: Release) {
        match release {
            // Whoever has given up needs no answer.
            Release::Answer(asker, answer) => drop(asker.send(answer)),
            Release::Send(from, sending) => self.dispatch(&from, sending, false),
            Release::Timer(key, message) => {
                self.timers.set(key, message);
                self.timers_changed.notify_one();
            }
            Release::Publish(id, number, publication) => {
                self.publish(id, number, publication, false);
            }
            Release::Took(sender, message) => self.arrived(&sender, &message),
            Release::Tell(courier, taken) => drop(courier.send(taken)),
            Release::Noted(id) => {
                if let Some(active) = self.actors.get_mut(&id)
                    && let Some(front) = active.inbox.front_mut()
                {
                    front.trial = front.trial.noted();
                }
                self.points.pass("attempt.after");
                self.is_ready(&id);
            }
            Release::Trimmed(pair) => {
                self.points.pass("trim.after");
                if let Some(outgoing) = self.outbox.pairs.get_mut(&pair) {
                    outgoing.trims -= 1;
                    if outgoing.trims == 0 && outgoing.queue.is_empty() && !outgoing.is_served {
                        self.outbox.pairs.remove(&pair);
                    }
                }
            }
            Release::Say(event) => self.say(event),
            Release::Done(done) => drop(done.send(())),
        }
    }

    /// Nothing more is taken.
    pub(crate) fn close(&mut self) -> Closing {
        if !self.group.batch.is_empty() {
            self.hand_over();
        }
        let closing = self.writer.close();
        self.publishes.stop();
        self.failed.get_or_insert_with(|| StoreError::Failed("it is closed".to_owned()));
        closing
    }

    /// Nothing can be made durable any more: nothing is acknowledged, and no actor goes on.
    pub(super) fn fail(&mut self, error: &StoreError) {
        if self.failed.is_some() {
            return;
        }
        self.failed = Some(error.clone());
        self.publishes.stop();
        if *error == StoreError::Fenced || self.writer.lease().is_some() {
            self.succeeded.notify_one();
        }
        self.say(JournalEvent::Failed { error: error.clone() });
        let refusal = Refusal::StoreFailed(error.to_string());
        for awaiting in std::mem::take(&mut self.awaiting) {
            awaiting.releases.into_iter().for_each(|release| self.abandon(release));
            awaiting.reads.into_iter().for_each(|read| self.abandon(read.release()));
        }
        for (_, mut active) in std::mem::take(&mut self.actors) {
            while let Some(arrived) = active.pop() {
                refuse(arrived.source, &refusal);
            }
        }
        self.ready.clear();
        self.timers_changed.notify_one();
    }

    /// What was to be released must not be.
    fn abandon(&self, release: Release) {
        let text = self.failed.as_ref().map(ToString::to_string).unwrap_or_default();
        match release {
            Release::Answer(asker, _) => drop(asker.send(Err(Refusal::StoreFailed(text)))),
            Release::Tell(courier, _) => drop(courier.send(Taken::Failed)),
            _ => {}
        }
    }
}

/// Tells whoever sent a message that it is not taken.
pub(super) fn refuse(source: Source, refusal: &Refusal) {
    match source {
        // Whoever has given up needs no answer.
        Source::Client { asker, .. } => drop(asker.send(Err(refusal.clone()))),
        Source::Far { courier: Some(courier), .. } => {
            let taken = match refusal {
                Refusal::StoreFailed(_) => Taken::Failed,
                Refusal::Busy => Taken::Busy,
                _ => Taken::Paused,
            };
            let _ = courier.send(taken);
        }
        // Its row is there, and it comes again when the journal is opened.
        Source::Far { courier: None, .. }
        | Source::Near { .. }
        | Source::Timer(_)
        | Source::Published(_) => {}
    }
}
