//! The limit for requests, kept for all that wait within it by one task instead of a timer each.
//!
//! Calls that have the same time to wait run out in the order in which they began. So they stand in a line, out of whose middle one
//! steps when it is answered; the task looks at its front from time to time. Most calls are answered long before, and cost two
//! links of a list.

use std::time::Duration;

use actogen_core::{Handle, Moment};
use parking_lot::Mutex;
use slab::Slab;

use crate::context::Context;

/// A limit is kept to one part in this of itself, or to [`FINEST`].
const PARTS: u32 = 64;

/// No look at the front follows sooner upon another.
const FINEST: Duration = Duration::from_millis(1);

/// Nor later: a limit of an hour is kept to a second.
const COARSEST: Duration = Duration::from_secs(1);

/// A call's place in the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

#[derive(Debug)]
struct Waiting {
    deadline: Moment,
    handle: Handle,
    ahead: Option<usize>,
    behind: Option<usize>,
    /// Its time has run out, and it stands in the line no more.
    is_late: bool,
}

#[derive(Debug)]
struct Line {
    places: Slab<Waiting>,
    first: Option<usize>,
    last: Option<usize>,
    /// The task runs.
    is_watched: bool,
}

/// The calls of one context that wait for as long as its limit for requests says.
#[derive(Debug)]
pub(crate) struct Deadlines {
    line: Mutex<Line>,
    limit: Duration,
    tick: Duration,
}

impl Line {
    fn step_in(&mut self, deadline: Moment, handle: Handle) -> usize {
        let ahead = self.last;
        let place =
            self.places.insert(Waiting { deadline, handle, ahead, behind: None, is_late: false });
        match ahead {
            Some(ahead) => self.places[ahead].behind = Some(place),
            None => self.first = Some(place),
        }
        self.last = Some(place);
        place
    }

    fn step_out(&mut self, place: usize) {
        let Waiting { ahead, behind, .. } = self.places[place];
        match ahead {
            Some(ahead) => self.places[ahead].behind = behind,
            None => self.first = behind,
        }
        match behind {
            Some(behind) => self.places[behind].ahead = ahead,
            None => self.last = ahead,
        }
    }

    /// Takes whoever's time has run out out of the line; they keep their places until they leave.
    fn late(&mut self, now: Moment) -> Vec<Handle> {
        let mut late = Vec::new();
        while let Some(first) = self.first
            && self.places[first].deadline <= now
        {
            self.step_out(first);
            self.places[first].is_late = true;
            late.push(self.places[first].handle);
        }
        late
    }
}

impl Deadlines {
    pub(crate) fn new(limit: Duration) -> Self {
        let (places, first, last) = (Slab::new(), None, None);
        let line = Line { places, first, last, is_watched: false };
        let tick = (limit / PARTS).clamp(FINEST, COARSEST);
        Self { line: Mutex::new(line), limit, tick }
    }

    /// Puts a call at the end of the line. Its time runs out after the limit, at the next look of the task.
    pub(crate) fn begin(&self, context: &Context, handle: Handle) -> Place {
        let mut line = self.line.lock();
        if !line.is_watched {
            line.is_watched = true;
            context.spawn(watch(context.clone()));
        }
        // Read under the lock: those in the line have earlier ones.
        let deadline = context.now() + self.limit;
        Place(line.step_in(deadline, handle))
    }

    /// Gives a call's place up.
    pub(crate) fn end(&self, place: Place) {
        let mut line = self.line.lock();
        if !line.places[place.0].is_late {
            line.step_out(place.0);
        }
        line.places.remove(place.0);
    }
}

/// Ends the waits of those whose time has run out, for as long as there is somebody in the line.
async fn watch(context: Context) {
    let deadlines = &context.0.deadlines;
    loop {
        tokio::time::sleep(deadlines.tick).await;
        let (late, goes_on) = {
            let mut line = deadlines.line.lock();
            let late = line.late(context.now());
            line.is_watched = line.first.is_some();
            (late, line.is_watched)
        };
        for handle in late {
            context.end_late(handle);
        }
        if !goes_on {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn whoever_is_in_the_line_runs_out_in_turn_and_whoever_has_left_does_not() {
        let deadlines = Deadlines::new(Duration::from_secs(30));
        let mut line = deadlines.line.lock();
        let places: Vec<_> = (0..5).map(|n| line.step_in(at(n), Handle(5000 + n))).collect();
        let handles = |of: &[u64]| of.iter().map(|n| Handle(5000 + n)).collect::<Vec<_>>();
        drop(line);
        for gone in [2, 0] {
            deadlines.end(Place(places[gone]));
        }
        assert_eq!(deadlines.line.lock().late(at(1)), handles(&[1]));
        deadlines.end(Place(places[4]));
        assert_eq!(deadlines.line.lock().late(at(9)), handles(&[3]));
        assert_eq!(deadlines.line.lock().late(at(9)), []);
        let later = deadlines.line.lock().step_in(at(10), Handle(6000));
        for late in [places[1], places[3]] {
            deadlines.end(Place(late));
        }
        assert_eq!(deadlines.line.lock().late(at(10)), [Handle(6000)]);
        deadlines.end(Place(later));
        let line = deadlines.line.lock();
        assert!(line.places.is_empty() && line.first.is_none() && line.last.is_none());
    }

    #[test]
    fn a_limit_is_kept_to_a_part_of_itself() {
        let tick = |limit| Deadlines::new(limit).tick;
        assert_eq!(tick(Duration::from_millis(2)), FINEST);
        assert_eq!(tick(Duration::from_secs(32)), Duration::from_millis(500));
        assert_eq!(tick(Duration::from_secs(3600)), COARSEST);
    }
}
