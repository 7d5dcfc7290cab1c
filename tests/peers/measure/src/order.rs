//! How the runner and a peer speak: by lines.
//!
//! The peer's first line is `ready`, with what is to be said about it behind. Then each line of the runner's is an [`Order`], and the
//! peer answers each with one [`Answer`]:
//!
//! ```text
//! peer:   ready elfo's TCP
//! runner: tell64 2
//! peer:   done 1650000.5 sent 3300064 handled 3300064
//! runner: tell_same_arbiter 2
//! peer:   without elfo places its actors itself
//! ```
//!
//! Words and blanks, since one of the peers is written in a language whose library has no JSON.

use std::{fmt, time::Duration};

use crate::work::{Outcome, Work};

/// A peer's first line begins with it.
pub const READY: &str = "ready";

/// One work, for so long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    /// What to do.
    pub work: &'static Work,
    /// How long.
    pub lasts: Duration,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.work.name, self.lasts.as_secs_f64())
    }
}

impl Order {
    /// Reads a line.
    pub fn parse(line: &str) -> Option<Self> {
        let (work, seconds) = line.trim().split_once(' ')?;
        let lasts = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
        Some(Self { work: Work::find(work)?, lasts })
    }
}

/// What a peer says to an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Here are the figures.
    Done(Outcome),
    /// The work has no meaning with this peer, for this reason.
    Without(String),
    /// It went wrong.
    Failed(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever an error's text holds.
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Self::Done(Outcome { figures, sent, handled }) => {
                write!(f, "done")?;
                figures.iter().try_for_each(|figure| write!(f, " {figure}"))?;
                write!(f, " sent {sent} handled {handled}")
            }
            Self::Without(reason) => write!(f, "without {}", line(reason)),
            Self::Failed(error) => write!(f, "failed {}", line(error)),
        }
    }
}

impl Answer {
    /// Reads a line that answers an order for this work.
    pub fn parse(line: &str, work: &Work) -> Option<Self> {
        let (word, rest) = line.trim().split_once(' ')?;
        match word {
            "done" => {
                let words: Vec<_> = rest.split(' ').collect();
                let (figures, counts) = words.split_at_checked(work.measures.len())?;
                let figures = figures.iter().map(|word| word.parse().ok()).collect();
                let figures = Option::<Vec<f64>>::filter(figures, |figures| {
                    figures.iter().all(|figure| figure.is_finite() && *figure > 0.0)
                })?;
                let ["sent", sent, "handled", handled] = counts else { return None };
                let (sent, handled) = (sent.parse().ok()?, handled.parse().ok()?);
                Some(Self::Done(Outcome { figures, sent, handled }))
            }
            "without" => Some(Self::Without(rest.to_owned())),
            "failed" => Some(Self::Failed(rest.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::WORKS;

    #[test]
    fn orders_survive_the_line() {
        for work in WORKS {
            let order = Order { work, lasts: Duration::from_millis(250) };
            assert_eq!(Order::parse(&format!("{order}\n")), Some(order));
        }
        for line in ["", "tell64", "tell65 1", "tell64 -1", "tell64 NaN", "tell64 soon"] {
            assert_eq!(Order::parse(line), None, "{line}");
        }
    }

    #[test]
    fn answers_survive_the_line() {
        let ask = Work::find("ask64").unwrap();
        let done = Outcome { figures: vec![85.5, 1200.0], sent: 10, handled: 9 };
        for answer in [
            Answer::Done(done),
            Answer::Without("there is no network".into()),
            Answer::Failed("it hung".into()),
        ] {
            assert_eq!(Answer::parse(&format!("{answer}\n"), ask), Some(answer));
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let tell = Work::find("tell64").unwrap();
        for line in [
            "done",
            "done 1",
            "done 1 2 sent 1 handled 1",
            "done 0 sent 1 handled 1",
            "done NaN sent 1 handled 1",
            "done inf sent 1 handled 1",
            "done 5 sent 1",
            "done 5 sent 1 handled -1",
            "all done",
        ] {
            assert_eq!(Answer::parse(line, tell), None, "{line}");
        }
    }

    #[test]
    fn an_error_of_many_lines_is_one() {
        assert_eq!(Answer::Failed("this\nand\tthat".into()).to_string(), "failed this and that");
    }
}
