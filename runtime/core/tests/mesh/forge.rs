//! What a malicious context tries. It has its own key and its own links; nothing that it says for others may have an effect.

use actogen_core::{
    Handled,
    dead::{Dead, DeadReason},
    id::{Attachment, ContextId, Handle, Incarnation, StreamId},
    offence::OffenceKind,
    wire::{
        Destination, Header, Kind,
        control::{
            AddRoute, Announcement, DelRoute, LinkMessage, Loss, LossKind, Outside, Withdrawn,
        },
        put_frame,
    },
};

use crate::{
    node::{certificate_of, sign_as},
    wire::{Item, Lie, Wire},
    world::{Picks, World, mailbox},
};

/// Stamps of forged route messages; honest ones never come near.
pub(crate) const STAMPS: u64 = 1 << 40;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Trick {
    /// Withdraws somebody who is not behind it, the root and the reader included.
    WithdrawOthers,
    /// Withdraws all that lies outside, which only a parent may.
    WithdrawOutside,
    /// Announces somebody else in its own place, signed with its own key.
    AnnounceWithWrongKey,
    /// Announces itself below somebody else.
    AnnounceElsewhere,
    /// Announces an attachment of its own that is over.
    AnnounceLower,
    /// Sends an announcement again that somebody else has signed once.
    Replay,
    /// Writes a message as somebody else.
    BadSource,
    /// Writes a message on somebody else's authority.
    BadAuthority,
    /// Writes a router's dead reply in the name of the context that was asked, knowing the reply handle.
    SpoofDead,
    /// Writes a dead reply in its own name, knowing the reply handle.
    StrangersDead,
    /// Writes a dead reply to a handle that it guesses.
    GuessedDead,
    /// Withdraws its child, or somebody below it, towards that child.
    WithdrawDown,
    /// Tells its child that somebody below that has left, signed with its own key.
    DepartWithWrongKey,
    /// Writes to its child as somebody who lies below that.
    BadSourceDown,
}

impl Trick {
    pub(crate) const ALL: [Self; 14] = [
        Self::WithdrawOthers,
        Self::WithdrawOutside,
        Self::AnnounceWithWrongKey,
        Self::AnnounceElsewhere,
        Self::AnnounceLower,
        Self::Replay,
        Self::BadSource,
        Self::BadAuthority,
        Self::SpoofDead,
        Self::StrangersDead,
        Self::GuessedDead,
        Self::WithdrawDown,
        Self::DepartWithWrongKey,
        Self::BadSourceDown,
    ];
}

impl World {
    /// The contexts that never lay below `evil`, and are not `evil`.
    fn strangers_to(&self, evil: ContextId) -> Vec<ContextId> {
        self.nodes
            .keys()
            .copied()
            .filter(|&id| id != evil && !self.ever_below.contains(&(evil, id)))
            .collect()
    }

    /// Plays a trick, if there is a way to; returns whether it did.
    pub(crate) fn forge(&mut self, evil: ContextId, trick: Trick, picks: &mut Picks) -> bool {
        match trick {
            Trick::WithdrawDown | Trick::DepartWithWrongKey | Trick::BadSourceDown => {
                self.forge_down(evil, trick, picks)
            }
            _ => self.forge_up(evil, trick, picks),
        }
    }

    fn forge_up(&mut self, evil: ContextId, trick: Trick, picks: &mut Picks) -> bool {
        let Some(wire) = self.up_wire(evil).filter(|&wire| self.wires[wire].is_up()) else {
            return false;
        };
        let parent = self.wires[wire].ends[Wire::PARENT].context;
        let strangers = self.strangers_to(evil);
        let Some(&victim) = strangers.get(picks.below(strangers.len())) else { return false };
        let loss = Loss::new(LossKind::Silent, victim, "a lie");
        let stamp = STAMPS + picks.next() % (1 << 30);
        let own = self.current(evil);
        let structure = self.structure;
        let lie = |what| Lie { what, about: victim, structure };
        match trick {
            Trick::WithdrawOthers => {
                self.discredited.insert((evil, victim));
                let routes = vec![self.withdrawn(victim)];
                let outside = Outside::None;
                let del = DelRoute { stamp, routes, outside, loss };
                self.say(
                    wire,
                    Wire::PARENT,
                    LinkMessage::DelRoute(del),
                    lie("a withdrawal of others"),
                );
            }
            Trick::WithdrawOutside => {
                let outside = if picks.below(2) == 0 {
                    Outside::AllExcept(Vec::new())
                } else {
                    Outside::Listed(vec![victim])
                };
                let del = DelRoute { stamp, routes: Vec::new(), outside, loss };
                self.say(
                    wire,
                    Wire::PARENT,
                    LinkMessage::DelRoute(del),
                    lie("a withdrawal of all"),
                );
            }
            Trick::AnnounceWithWrongKey => {
                let announcement = signed_by(evil, self.above(victim, evil));
                self.announce(wire, Wire::PARENT, stamp, announcement, lie("a wrong key"));
            }
            Trick::AnnounceElsewhere => {
                let Some(own) = own else { return false };
                let attachment = Attachment(own.attachment.0 + 1000);
                let elsewhere = Announcement { parent: victim, attachment, ..own };
                if victim == parent {
                    return false;
                }
                self.announce(
                    wire,
                    Wire::PARENT,
                    stamp,
                    signed_by(evil, elsewhere),
                    lie("elsewhere"),
                );
            }
            Trick::AnnounceLower => {
                let Some(own) = own else { return false };
                let lower = Announcement { attachment: Attachment(0), ..own };
                self.announce(
                    wire,
                    Wire::PARENT,
                    stamp,
                    signed_by(evil, lower),
                    Lie { about: parent, ..lie("a lower one") },
                );
            }
            Trick::Replay => {
                let below = |id| id == evil || self.ever_below.contains(&(evil, id));
                let old: Vec<_> = self
                    .archive
                    .iter()
                    .filter(|old| !below(old.context) && !below(old.parent))
                    .cloned()
                    .collect();
                let Some(old) = old.get(picks.below(old.len())).cloned() else { return false };
                let old_parent = old.parent;
                let about = |what| Lie { about: old_parent, ..lie(what) };
                self.announce(wire, Wire::PARENT, stamp, old, about("a replayed announcement"));
            }
            Trick::BadSource | Trick::BadAuthority => {
                let mut header = Header::to(mailbox(parent, picks.below(4) as u64));
                if matches!(trick, Trick::BadSource) {
                    header.source = Some(victim);
                } else {
                    header.authority = Some(victim);
                }
                self.write_forged(
                    wire,
                    Wire::PARENT,
                    &header,
                    b"ask",
                    lie("a bad source or authority"),
                );
            }
            Trick::SpoofDead | Trick::StrangersDead | Trick::GuessedDead => {
                let Some((asker, asked, handle)) = self.waiting(picks) else { return false };
                if asked == evil || asker == evil || self.ever_below.contains(&(evil, asked)) {
                    return false;
                }
                let handle = match trick {
                    Trick::GuessedDead => Handle(handle.0 ^ (4 << picks.below(60))),
                    _ => handle,
                };
                let mut header = Header::to(handle).kind(Kind::Dead);
                header.destination = Some(Destination { context: asker, incarnation: None });
                if matches!(trick, Trick::SpoofDead) {
                    header.source = Some(asked);
                    header.by_router = true;
                }
                let mut payload = Vec::new();
                Dead::new(DeadReason::RouteLost, Handled::Maybe, evil, "a lie")
                    .encode(&mut payload);
                self.write_forged(
                    wire,
                    Wire::PARENT,
                    &header,
                    &payload,
                    Lie { about: asked, ..lie("a forged dead reply") },
                );
            }
            Trick::WithdrawDown | Trick::DepartWithWrongKey | Trick::BadSourceDown => {
                unreachable!("these go down")
            }
        }
        true
    }

    fn forge_down(&mut self, evil: ContextId, trick: Trick, picks: &mut Picks) -> bool {
        let children: Vec<usize> = (0..self.wires.len())
            .filter(|&wire| self.wires[wire].is_up())
            .filter(|&wire| self.wires[wire].ends[Wire::PARENT].context == evil)
            .collect();
        let Some(&wire) = children.get(picks.below(children.len())) else { return false };
        let child = self.wires[wire].ends[Wire::CHILD].context;
        let node = self.node(child);
        // What it will still have announced as its own when the lie is read: itself, for certain.
        let inside: Vec<_> = node.routes.keys().copied().chain([child]).collect();
        let quiet = self.wires[wire].ends[Wire::CHILD].is_drained();
        let victim = if quiet { inside[picks.below(inside.len())] } else { child };
        let stamp = STAMPS + picks.next() % (1 << 30);
        let structure = self.structure;
        let lie = |what| Lie { what, about: victim, structure };
        match trick {
            Trick::WithdrawDown => {
                let routes = vec![self.withdrawn(victim)];
                let loss = Loss::new(LossKind::Silent, victim, "a lie");
                let del = DelRoute { stamp, routes, outside: Outside::None, loss };
                self.say_at_once(
                    wire,
                    Wire::CHILD,
                    LinkMessage::DelRoute(del),
                    lie("a lie about its own"),
                );
            }
            Trick::DepartWithWrongKey => {
                if victim == child {
                    return false;
                }
                let announcement = signed_by(evil, self.above(victim, evil));
                let message = LinkMessage::AddRoute(AddRoute { stamp, announcement });
                self.say_at_once(wire, Wire::CHILD, message, lie("a departure with a wrong key"));
            }
            _ => {
                let mut header = Header::to(mailbox(child, picks.below(4) as u64));
                header.source = Some(victim);
                let stream = header.handle.stream();
                self.write_forged(
                    wire,
                    Wire::CHILD,
                    &header,
                    b"ask",
                    lie("its child's own as source"),
                );
                if quiet {
                    self.advance(wire, Wire::CHILD, Some(stream));
                }
            }
        }
        true
    }

    /// A context's last announcement.
    pub(crate) fn current(&self, context: ContextId) -> Option<Announcement> {
        self.archive
            .iter()
            .filter(|old| old.context == context)
            .max_by_key(|old| old.attachment)
            .cloned()
    }

    /// An announcement of `victim` above whatever it has said itself, below `parent`.
    pub(crate) fn above(&self, victim: ContextId, parent: ContextId) -> Announcement {
        let life = self.nodes.get(&victim).map_or(Incarnation::new(1, 1), |node| node.life);
        Announcement {
            context: victim,
            incarnation: Incarnation::new(life.term, life.counter + 1000),
            attachment: Attachment(1000),
            parent,
            certificate: certificate_of(victim),
            signature: Vec::new(),
        }
    }

    pub(crate) fn withdrawn(&self, victim: ContextId) -> Withdrawn {
        let last = self.archive.iter().filter(|old| old.context == victim);
        let last = last.max_by_key(|old| (old.incarnation, old.attachment));
        let (incarnation, attachment) = last
            .map_or((Incarnation::new(1, 1), Attachment(1)), |old| {
                (old.incarnation, old.attachment)
            });
        Withdrawn { context: victim, incarnation, attachment }
    }

    /// Some waiter: who waits, for whom, under which handle.
    fn waiting(&self, picks: &mut Picks) -> Option<(ContextId, ContextId, Handle)> {
        let waiting: Vec<_> = self
            .nodes
            .values()
            .flat_map(|node| node.inbox.iter().map(|asked| (asked.from, node.me, asked.reply)))
            .collect();
        waiting.get(picks.below(waiting.len())).copied()
    }

    fn announce(
        &mut self,
        wire: usize,
        end: usize,
        stamp: u64,
        announcement: Announcement,
        lie: Lie,
    ) {
        self.say(wire, end, LinkMessage::AddRoute(AddRoute { stamp, announcement }), lie);
    }

    /// Puts a forged link message on every stream.
    pub(crate) fn say(&mut self, wire: usize, end: usize, message: LinkMessage, lie: Lie) {
        self.wires[wire].tainted = true;
        let mut bytes = Vec::new();
        message.put(&mut bytes);
        for stream in StreamId::all() {
            let item = Item { bytes: bytes.clone(), letter: None, lie: Some(lie) };
            self.put(wire, end, stream, item);
        }
    }

    /// The same, read at once if nothing stands before it.
    fn say_at_once(&mut self, wire: usize, end: usize, message: LinkMessage, lie: Lie) {
        let quiet = self.wires[wire].ends[end].is_drained();
        self.say(wire, end, message, lie);
        for stream in StreamId::all().filter(|_| quiet) {
            self.advance(wire, end, Some(stream));
        }
    }

    pub(crate) fn write_forged(
        &mut self,
        wire: usize,
        end: usize,
        header: &Header,
        payload: &[u8],
        lie: Lie,
    ) {
        let mut bytes = Vec::new();
        put_frame(header, &[payload], &mut bytes);
        let item = Item { bytes, letter: None, lie: Some(lie) };
        self.put(wire, end, header.handle.stream(), item);
    }

    /// Sends a route message again that a link has carried already, on the same stream; its reader must cut the link.
    pub(crate) fn repeat_stamp(&mut self, from: ContextId) -> bool {
        let Some(wire) = self.up_wire(from).filter(|&wire| self.wires[wire].is_up()) else {
            return false;
        };
        let link = self.wires[wire].ends[Wire::CHILD].link;
        let Some(said) = self.said.iter().find(|said| said.link == link).cloned() else {
            return false;
        };
        let mut bytes = Vec::new();
        said.message.put(&mut bytes);
        let item = Item {
            bytes,
            letter: None,
            lie: Some(Lie { what: "a repeated stamp", about: said.to, structure: self.structure }),
        };
        self.put(wire, Wire::PARENT, said.stream, item);
        true
    }

    pub(crate) fn offences(&self, at: u64, kind: OffenceKind) -> usize {
        self.node(at).offences.iter().filter(|offence| offence.kind == kind).count()
    }
}

pub(crate) fn signed_by(signer: ContextId, mut announcement: Announcement) -> Announcement {
    announcement.signature = sign_as(signer, &announcement.claim());
    announcement
}
