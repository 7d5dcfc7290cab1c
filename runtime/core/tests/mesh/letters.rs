//! The letters that contexts send each other, the checks of every hop on their way, and what becomes of them.

use actogen_core::{
    Handled,
    dead::{Dead, DeadReason},
    id::{ContextId, Incarnation, LinkId, StreamId},
    limits::MAX_HOPS,
    offence::{Offence, OffenceKind},
    pending::NotAwaited,
    route::judge::{self, Verdict},
    router::Input,
    wire::{Destination, Header, Kind, put_frame},
};

use crate::{
    node::Asked,
    wire::{Item, Lie},
    world::{Fate, Form, Letter, MAILBOXES, Outcome, Place, Request, World, mailbox},
};

impl World {
    fn letter(&mut self, form: Form, from: Place, to: Place) -> usize {
        let way = self.way(from.0, to.0);
        self.letters.push(Letter {
            form,
            from,
            to,
            structure: self.structure,
            way,
            path: Vec::new(),
            fate: None,
        });
        self.letters.len() - 1
    }

    /// Sends a one-way message to a life of a context.
    pub(crate) fn tell(&mut self, from: Place, to: Place, life: Incarnation) -> usize {
        let letter = self.letter(Form::OneWay, from, to);
        let mut header = Header::to(mailbox(to.0, to.1));
        header.source = Some(from.0);
        header.destination = Some(Destination { context: to.0, incarnation: Some(life) });
        self.pass(from.0, None, header, b"tell", letter);
        letter
    }

    /// Sends a request to a life of a context; its number names it from then on.
    pub(crate) fn ask(&mut self, from: Place, to: Place, life: Incarnation) -> usize {
        let letter = self.letter(Form::Request, from, to);
        let node = self.nodes.get_mut(&from.0).expect("whoever asks lives");
        let lane = mailbox(from.0, from.1).stream();
        let reply = node.pending.insert(to.0, lane, node.epoch, letter);
        let reply = reply.expect("there is room for waiters");
        let request = Request { asker: from.0, life: node.life, outcome: None };
        self.requests.insert(letter, request);
        let mut header = Header::to(mailbox(to.0, to.1)).reply_to(reply);
        header.source = Some(from.0);
        header.destination = Some(Destination { context: to.0, incarnation: Some(life) });
        self.pass(from.0, None, header, b"ask", letter);
        letter
    }

    /// Asks the present life of a context.
    pub(crate) fn ask_now(&mut self, from: u64, to: u64) -> usize {
        let to = ContextId(to);
        let life = self.nodes.get(&to).map_or(Incarnation::new(9, 9), |node| node.life);
        self.ask((ContextId(from), from % MAILBOXES), (to, from % MAILBOXES), life)
    }

    /// Answers one of the requests that wait at a context; with `false` its handler drops it.
    pub(crate) fn answer(&mut self, at: ContextId, pick: usize, well: bool) {
        let node = self.nodes.get_mut(&at).expect("whoever answers lives");
        if node.inbox.is_empty() {
            return;
        }
        let asked = node.inbox.remove(pick % node.inbox.len());
        let to_box = self.letters[asked.request].from.1;
        let letter =
            self.letter(Form::Answer(asked.request), (at, asked.mailbox), (asked.from, to_box));
        let kind = if well { Kind::Reply } else { Kind::Dead };
        let mut header = Header::to(asked.reply).kind(kind);
        header.source = Some(at);
        header.destination = Some(Destination { context: asked.from, incarnation: None });
        let mut payload = Vec::new();
        if !well {
            let dead = Dead::new(DeadReason::NoAnswer, actogen_core::Handled::Yes, at, "dropped");
            dead.encode(&mut payload);
        }
        self.pass(at, None, header, &payload, letter);
    }

    pub(crate) fn read_envelope(
        &mut self,
        at: ContextId,
        link: LinkId,
        stream: StreamId,
        mut header: Header,
        payload: &[u8],
        item: &Item,
    ) {
        assert_eq!(stream, header.handle.stream(), "an envelope keeps its lane");
        let node = &self.nodes[&at];
        let from = node.links[&link];
        let letter = item.letter;
        if let Some(letter) = letter {
            self.letters[letter].path.push((at, self.clock));
        }
        match judge::origin(node, link, from, &header) {
            Ok(origin) => {
                header.source = Some(origin.source);
                header.authority = (origin.authority != origin.source).then_some(origin.authority);
            }
            Err(offence) => {
                let node = self.nodes.get_mut(&at).expect("it is reading");
                node.offences.push(offence);
                let Some(letter) = letter else { return };
                self.end_letter(letter, Fate::Refused(offence.kind));
                let dead = Dead::new(DeadReason::Refused, Handled::No, at, offence.to_string());
                header.source = header.source.or(Some(from.context));
                let destination = Destination { context: at, incarnation: None };
                header.destination = header.destination.or(Some(destination));
                if let Some((notice, payload, answer)) = self.notice(&header, &dead, letter) {
                    // Nobody knows whether the source is where the routes say: it goes back where the request came from.
                    self.transmit(at, link, notice, &payload, answer);
                }
                return;
            }
        }
        header.destination =
            header.destination.or(Some(Destination { context: at, incarnation: None }));
        let letter = letter.unwrap_or(usize::MAX);
        self.pass(at, Some(link), header, payload, letter);
    }

    /// Decides at one context where a letter goes; its header names source and destination in full.
    fn pass(
        &mut self,
        at: ContextId,
        from: Option<LinkId>,
        mut header: Header,
        payload: &[u8],
        letter: usize,
    ) {
        let to = header.destination.expect("named in full");
        let node = self.nodes.get_mut(&at).expect("it is passing something");
        match judge::destination(node, from, to.context, to.incarnation, header.hops) {
            Verdict::Deliver => self.take(at, &header, payload, letter),
            Verdict::Forward(link) => {
                if let Some(from) = from {
                    header.hops -= 1;
                    if header.kind == Kind::Message && node.noted.insert((from, to.context)) {
                        let context = to.context;
                        self.hand(at, Input::Addressed { link: from, context, via: link });
                    }
                }
                self.transmit(at, link, header, payload, letter);
            }
            Verdict::Dead(dead) => {
                if letter != usize::MAX {
                    self.end_letter(letter, Fate::Dead(dead.reason));
                }
                if let Some((notice, payload, answer)) = self.notice(&header, &dead, letter) {
                    self.pass(at, None, notice, &payload, answer);
                }
            }
        }
    }

    /// A router's dead reply to a request, in the name of whoever was asked (protocol rule 12).
    fn notice(
        &mut self,
        header: &Header,
        dead: &Dead,
        letter: usize,
    ) -> Option<(Header, Vec<u8>, usize)> {
        let (Kind::Message, Some(reply)) = (header.kind, header.reply) else { return None };
        let mut notice = Header::to(reply).kind(Kind::Dead);
        notice.by_router = true;
        notice.source = header.destination.map(|to| to.context);
        let asker = header.source.expect("named in full");
        notice.destination = Some(Destination { context: asker, incarnation: None });
        let mut payload = Vec::new();
        dead.encode(&mut payload);
        let Letter { from, to, .. } = self.letters[letter];
        Some((notice, payload, self.letter(Form::Notice(letter), to, from)))
    }

    fn transmit(
        &mut self,
        at: ContextId,
        link: LinkId,
        mut header: Header,
        payload: &[u8],
        letter: usize,
    ) {
        let (wire, end) = self.ends[&link];
        let peer = self.wires[wire].ends[1 - end].context;
        let stream = header.handle.stream();
        // What both ends know is left out.
        if header.source == Some(at) {
            header.source = None;
        }
        if header.destination == Some(Destination { context: peer, incarnation: None }) {
            header.destination = None;
        }
        let mut bytes = Vec::new();
        put_frame(&header, &[payload], &mut bytes);
        let letter = (letter != usize::MAX).then_some(letter);
        let what = "a forged envelope that was passed on";
        let lie = letter.is_none().then_some(Lie { what, about: peer, structure: self.structure });
        self.put(wire, 1 - end, stream, Item { bytes, letter, lie });
    }

    /// A letter has reached its context.
    fn take(&mut self, at: ContextId, header: &Header, payload: &[u8], letter: usize) {
        let source = header.source.expect("named in full");
        if header.kind == Kind::Message {
            assert_ne!(letter, usize::MAX, "a forged message was delivered to {at}: {header:?}");
            self.end_letter(letter, Fate::Delivered);
            let Letter { from, to, .. } = self.letters[letter];
            assert_eq!(from.0, source, "the source that the receiver sees is whoever sent it");
            self.in_order(letter);
            if let Some(reply) = header.reply {
                let node = self.nodes.get_mut(&at).expect("it is receiving");
                let asked = Asked { request: letter, from: from.0, mailbox: to.1, reply };
                node.inbox.push(asked);
            }
            return;
        }
        let node = self.nodes.get_mut(&at).expect("it is receiving");
        match node.pending.answer(header.handle, source) {
            Ok(request) => {
                assert_ne!(letter, usize::MAX, "a forged answer has ended a wait");
                let outcome = if header.kind == Kind::Reply {
                    Outcome::Answered
                } else {
                    let dead = Dead::decode(payload).expect("dead replies are well-formed");
                    Outcome::Dead(dead.reason)
                };
                self.end_letter(letter, Fate::Delivered);
                if matches!(self.letters[letter].form, Form::Answer(_)) {
                    self.in_order(letter);
                }
                self.end_request(request, outcome);
            }
            Err(NotAwaited::Unknown) if letter != usize::MAX => {
                self.end_letter(letter, Fate::TooLate);
                self.check_late(letter);
            }
            Err(_) => {
                let kind = OffenceKind::StrangersAnswer;
                let offender = header.source.expect("named in full");
                node.offences.push(Offence { kind, offender, about: at });
                if letter != usize::MAX {
                    self.end_letter(letter, Fate::Refused(kind));
                }
            }
        }
    }

    /// Letters of one pair that were sent by the same way arrive in the order in which they were sent.
    fn in_order(&mut self, letter: usize) {
        let Letter { from, to, ref way, ref path, structure, .. } = self.letters[letter];
        if let Some(way) = way {
            assert!(path.len() <= MAX_HOPS as usize);
            if structure == self.structure {
                let hops: Vec<_> = path.iter().map(|(at, _)| *at).collect();
                assert_eq!(hops.len(), way.len(), "letter {letter} took {hops:?} for {way:?}");
            }
        }
        let arrived = self.order.entry((from, to)).or_default();
        let overtaken = arrived.iter().find(|&&earlier| {
            earlier > letter && self.letters[earlier].way == *way && way.is_some()
        });
        assert_eq!(overtaken, None, "letter {letter} {:?} arrives late", self.letters[letter]);
        arrived.push(letter);
    }

    /// An answer has come after its waiter was woken: the withdrawal must not have overtaken it anywhere.
    fn check_late(&self, letter: usize) {
        let (Form::Answer(request) | Form::Notice(request)) = self.letters[letter].form else {
            panic!("only answers go to waiters")
        };
        let Some(Outcome::Woken(loss)) = &self.requests[&request].outcome else { return };
        let Some(event) = loss.text.strip_prefix("event ") else { return };
        let event = self.events[event.parse::<usize>().expect("events are numbered")];
        let known = event.at.expect("it has woken somebody");
        // Where the way between has been another since, some link on it has ended all waits by itself.
        let (way, asker) = (&self.letters[letter].way, self.letters[letter].to.0);
        let same_way = way.as_ref().zip(self.way(event.origin, asker));
        if same_way.is_none_or(|(way, now)| !way.ends_with(&now)) {
            return;
        }
        let overtaken = self.letters[letter]
            .path
            .iter()
            .any(|&(context, at)| context == event.origin && at < known);
        assert!(!overtaken, "{:?} was overtaken by {loss} of {event:?}", self.letters[letter]);
    }

    pub(crate) fn end_letter(&mut self, letter: usize, fate: Fate) {
        let old = self.letters[letter].fate.replace(fate.clone());
        assert_eq!(old, None, "letter {letter} has a second fate: {fate:?}");
    }

    pub(crate) fn end_request(&mut self, request: usize, outcome: Outcome) {
        let state = self.requests.get_mut(&request).expect("requests are known");
        let old = state.outcome.replace(outcome.clone());
        assert_eq!(old, None, "request {request} ends a second time: {outcome:?}");
    }

    pub(crate) fn outcome(&self, request: usize) -> Option<&Outcome> {
        self.requests[&request].outcome.as_ref()
    }
}
