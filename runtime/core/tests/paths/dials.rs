//! Two contexts that dial each other for a direct link, whichever word comes first or not at all: they come to hold the same link.

use std::{collections::VecDeque, time::Duration};

use actogen_core::{
    ContextId, LinkId, Moment,
    route::dial::{Come, Dials, HOLD},
};
use proptest::prelude::*;

/// The end with the lower id, and the other; each one's dial has its number.
const IDS: [ContextId; 2] = [ContextId(3), ContextId(8)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Hello,
    Welcome,
    Refusal,
    Close,
}

struct Dialling {
    now: Moment,
    dials: [Dials; 2],
    /// What is on its way: of which dial, to which end.
    words: [[VecDeque<Word>; 2]; 2],
    /// Whether an end has closed a dial's connection.
    closed: [[bool; 2]; 2],
    holds: [Option<usize>; 2],
}

impl Dialling {
    fn begin(who: &[usize]) -> Self {
        let mut dialling = Self {
            now: Moment::START,
            dials: IDS.map(|id| Dials::new(id, 10)),
            words: Default::default(),
            closed: Default::default(),
            holds: [None; 2],
        };
        for &end in who {
            assert!(dialling.dials[end].begin(Moment::START, IDS[1 - end]));
            dialling.words[end][1 - end].push_back(Word::Hello);
        }
        dialling
    }

    fn say(&mut self, end: usize, dial: usize, word: Word) {
        if !self.closed[end][dial] {
            self.words[dial][1 - end].push_back(word);
            self.closed[end][dial] = matches!(word, Word::Refusal | Word::Close);
        }
    }

    fn hold(&mut self, end: usize, dial: usize) {
        if let Some(old) = self.holds[end].replace(dial)
            && old != dial
        {
            self.say(end, old, Word::Close);
        }
    }

    fn welcome(&mut self, end: usize, dial: usize) {
        if !self.closed[end][dial] {
            self.hold(end, dial);
            self.say(end, dial, Word::Welcome);
        }
    }

    /// An end hears the next word of a dial.
    fn hear(&mut self, end: usize, dial: usize) -> bool {
        let Some(word) = self.words[dial][end].pop_front() else { return false };
        let peer = IDS[1 - end];
        if self.closed[end][dial] {
            return true;
        }
        match word {
            // The link that has opened has used up the ticket.
            Word::Hello if self.holds[end].is_some() => self.say(end, dial, Word::Refusal),
            Word::Hello => match self.dials[end].come(self.now, peer, LinkId(dial as u64)) {
                Come::Welcome => self.welcome(end, dial),
                Come::Hold(older) => assert_eq!(older, None),
                Come::Refuse => self.say(end, dial, Word::Refusal),
            },
            Word::Welcome => match self.dials[end].opened(self.now, peer) {
                (true, held) => {
                    self.hold(end, dial);
                    if let Some(held) = held {
                        self.say(end, held.0 as usize, Word::Refusal);
                    }
                }
                (false, held) => {
                    assert_eq!(held, None);
                    self.say(end, dial, Word::Close);
                }
            },
            Word::Refusal | Word::Close => {
                self.closed[end][dial] = true;
                if self.holds[end] == Some(dial) {
                    self.holds[end] = None;
                }
                if dial == end {
                    self.failed(end);
                } else {
                    self.dials[end].gone(peer, LinkId(dial as u64));
                }
            }
        }
        true
    }

    fn failed(&mut self, end: usize) {
        if let Some(held) = self.dials[end].failed(IDS[1 - end]) {
            self.welcome(end, held.0 as usize);
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        for end in 0..2 {
            for given in self.dials[end].expire(self.now) {
                self.say(end, end, Word::Close);
                self.welcome(end, given.held.0 as usize);
            }
        }
    }

    fn settle(&mut self) -> [Option<usize>; 2] {
        for _ in 0..3 {
            while (0..4).any(|n| self.hear(n / 2, n % 2)) {}
            self.wait(HOLD);
        }
        self.holds
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn two_that_dial_each_other_come_to_hold_the_same_link(picks in prop::collection::vec(0..6_usize, 0..40)) {
        let mut dialling = Dialling::begin(&[0, 1]);
        for pick in picks {
            match pick {
                4 | 5 => dialling.wait(HOLD / 3),
                _ => {
                    dialling.hear(pick / 2, pick % 2);
                }
            }
        }
        let [low, high] = dialling.settle();
        prop_assert_eq!(low, high);
        prop_assert!(low.is_some(), "neither dial has failed");
    }

    #[test]
    fn the_one_dial_that_gets_through_stands(lost in 0..2_usize, picks in prop::collection::vec(0..6_usize, 0..40)) {
        let mut dialling = Dialling::begin(&[0, 1]);
        // Nothing that is said by it arrives.
        for pick in picks {
            match pick {
                4 | 5 => dialling.wait(HOLD / 3),
                _ if pick % 2 != lost => {
                    dialling.hear(pick / 2, pick % 2);
                }
                _ => {}
            }
        }
        for end in 0..2 {
            dialling.words[lost][end].clear();
        }
        dialling.closed[1 - lost][lost] = true;
        prop_assert_eq!(dialling.settle(), [Some(1 - lost); 2]);
    }
}
