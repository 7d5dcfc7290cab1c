//! What a process holds of the machine's memory, as Linux tells it (proc(5)).

use std::fs;

use crate::failure::Failure;

/// Makes the peak begin anew at what is held now.
const RESET_PEAK: &str = "5";

/// A process that has been at rest.
pub(super) struct Memory {
    status: String,
    at_rest: u64,
}

impl Memory {
    /// Takes what the process holds now for what it holds at rest.
    ///
    /// # Errors
    /// [`Failure::System`].
    pub(super) fn at_rest(process: u32) -> Result<Self, Failure> {
        fs::write(format!("/proc/{process}/clear_refs"), RESET_PEAK)
            .map_err(|error| Failure::System("resetting a process's peak of memory", error))?;
        let status = format!("/proc/{process}/status");
        let at_rest = read(&status, "VmRSS")?;
        Ok(Self { status, at_rest })
    }

    /// The most that the process has held since it was at rest, beyond what it held then, in bytes.
    ///
    /// # Errors
    /// [`Failure::System`].
    pub(super) fn above(&self) -> Result<u64, Failure> {
        Ok(read(&self.status, "VmHWM")?.saturating_sub(self.at_rest))
    }
}

fn read(status: &str, field: &str) -> Result<u64, Failure> {
    let failed = |error| Failure::System("reading what a process holds of memory", error);
    let text = fs::read_to_string(status).map_err(failed)?;
    bytes_of(&text, field).ok_or_else(|| failed(std::io::Error::other(format!("no {field}"))))
}

fn bytes_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_kibibytes() {
        let status = "Name:\tbench\nVmHWM:\t    5432 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(bytes_of(status, "VmRSS"), Some(1024 * 1024));
        assert_eq!(bytes_of(status, "VmHWM"), Some(5432 * 1024));
        assert_eq!(bytes_of(status, "Vm"), None);
    }

    #[test]
    fn a_peak_is_seen_after_it_is_over() {
        const MUCH: usize = 128 * 1024 * 1024;
        let memory = Memory::at_rest(std::process::id()).unwrap();
        drop(std::hint::black_box(vec![1_u8; MUCH]));
        assert!(memory.above().unwrap() > MUCH as u64 / 2);
    }
}
