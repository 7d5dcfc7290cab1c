//! The same without actors: bytes appended to a file, and bare transactions of redb.

use std::{
    cell::{Cell, RefCell},
    fs,
    io::Write,
    path::Path,
    time::Duration,
};

use redb::{Database, TableDefinition};

use super::ours::STATE;
use crate::{
    failure::Failure,
    workload::{Outcome, Span},
};

/// A file to which turns are appended, one sync each.
pub(super) struct File {
    file: RefCell<fs::File>,
    bytes: Vec<u8>,
}

impl File {
    pub(super) fn open(path: &Path, bytes: usize) -> Result<Self, Failure> {
        let file = fs::File::create(path).map_err(|error| Failure::System("a file", error))?;
        Ok(Self { file: RefCell::new(file), bytes: vec![7; bytes] })
    }

    pub(super) fn run(&self, lasts: Duration) -> Result<Outcome, Failure> {
        let (span, mut turns) = (Span::of(lasts), 0);
        let mut file = self.file.borrow_mut();
        while !span.is_over() {
            let appended = file.write_all(&self.bytes).and_then(|()| file.sync_data());
            appended.map_err(|error| Failure::System("appending to a file", error))?;
            turns += 1;
        }
        Ok(span.rate(turns).into())
    }
}

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

/// Transactions that write the rows of as many turns as there are requests in flight: a state, an answer, and one answer less.
pub(super) struct Engine {
    database: Database,
    actors: usize,
    in_flight: usize,
    is_in_two_phases: bool,
    turn: Cell<u64>,
}

impl Engine {
    pub(super) fn open(
        path: &Path,
        actors: usize,
        in_flight: usize,
        is_in_two_phases: bool,
    ) -> Result<Self, Failure> {
        let database = Database::create(path).map_err(failed)?;
        Ok(Self { database, actors, in_flight, is_in_two_phases, turn: Cell::new(0) })
    }

    pub(super) fn run(&self, lasts: Duration) -> Result<Outcome, Failure> {
        let (span, mut turns) = (Span::of(lasts), 0);
        while !span.is_over() {
            self.commit()?;
            turns += self.in_flight as u64;
        }
        Ok(span.rate(turns).into())
    }

    fn commit(&self) -> Result<(), Failure> {
        let mut write = self.database.begin_write().map_err(failed)?;
        write.set_two_phase_commit(self.is_in_two_phases);
        {
            let mut rows = write.open_table(ROWS).map_err(failed)?;
            for asker in 0..self.in_flight {
                let turn = self.turn.get();
                let actor = (asker + turn as usize * self.in_flight) % self.actors;
                let name = format!("counter/{actor}\0");
                let state = [7; STATE + 24];
                rows.insert(format!("\x01{name}").as_bytes(), &state[..]).map_err(failed)?;
                let answer = |turn: u64| {
                    [format!("\x07{name}{asker:016}").as_bytes(), &turn.to_be_bytes()].concat()
                };
                rows.insert(&*answer(turn), &[7; 24][..]).map_err(failed)?;
                if let Some(settled) = turn.checked_sub(1) {
                    rows.remove(&*answer(settled)).map_err(failed)?;
                }
            }
        }
        self.turn.set(self.turn.get() + 1);
        write.commit().map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Reference { over: "redb", why: error.to_string() }
}
