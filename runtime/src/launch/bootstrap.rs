//! What a launched process must know before it can enrol, and how it gets it: length-prefixed on its standard input, never by
//! argument or environment, which others can read and grandchildren inherit.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    time::Duration,
};

use actogen_core::ContextId;
use serde::{Deserialize, Serialize};

use super::how::Carrier;

/// The single argument that makes a program a child.
pub const CHILD_ARGUMENT: &str = "actogen:child:v1";

/// The name of the test in which a test program becomes a child (`actogen::test_child!`).
pub const CHILD_TEST: &str = "actogen_child";

const MAGIC: &[u8; 8] = b"ACTOGEN1";

/// The longest bootstrap in bytes.
const MAX: usize = 64 * 1024;

/// The bootstrap of one child.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Which launch of the parent this is.
    pub launch: u64,
    /// Proves, once, that the process is the one that was launched.
    pub secret: [u8; 32],
    /// The parent.
    pub parent: ContextId,
    /// Where to link back.
    pub endpoint: String,
    /// The mesh's name.
    pub mesh: String,
    /// The mesh's roots, in the transport's own form.
    pub roots: Vec<u8>,
    /// The parent's limit for a message's body, in bytes.
    pub max_message: u64,
    /// The parent's detection time, in milliseconds.
    pub detection_millis: u64,
    /// What may carry the link back.
    pub carrier: Carrier,
    /// The program's BLAKE3 hash in hexadecimal digits, where it was found by that.
    pub program: Option<String>,
    /// Which events of the child's program the root wants to hear of, as `RUST_LOG` says it.
    pub log_filter: Option<String>,
    /// What the child puts out before the first datagram, so that whatever was printed before it is told apart.
    pub sync: [u8; 16],
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap")
            .field("launch", &self.launch)
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}

impl Bootstrap {
    /// The wire form: 8 bytes of magic, a length (u32, little endian), the fields in postcard.
    pub fn encode(&self) -> Vec<u8> {
        let body =
            postcard::to_extend(self, Vec::new()).expect("a bootstrap has a form in postcard");
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(
            &u32::try_from(body.len()).expect("a bootstrap is far below 4 GiB").to_le_bytes(),
        );
        out.extend_from_slice(&body);
        out
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// What the input says when it is no bootstrap.
    pub fn read(input: &mut impl Read) -> io::Result<Self> {
        let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
        let mut head = [0; 12];
        input.read_exact(&mut head)?;
        let (magic, len) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(bad("standard input does not begin with a bootstrap"));
        }
        let len = u32::from_le_bytes(len.try_into().expect("12 - 8 bytes are left")) as usize;
        if len > MAX {
            return Err(bad("the bootstrap is longer than any can be"));
        }
        let mut body = vec![0; len];
        input.read_exact(&mut body)?;
        crate::builtin::take(&body).ok_or_else(|| bad("the bootstrap does not decode"))
    }
}

/// What begins a tunnel: a number's digits, so that no line's end is among them.
pub(super) fn sync(number: u64) -> [u8; 16] {
    let digits = format!("{number:016x}").into_bytes();
    digits.try_into().expect("64 bits have 16 hexadecimal digits")
}

/// Whether this process was started as a child.
pub fn is_child() -> bool {
    std::env::args().any(|argument| argument == CHILD_ARGUMENT)
}

/// The arguments with which the running program makes itself a child: a test program must run just the test that does it.
pub fn child_arguments() -> Vec<String> {
    if is_child() {
        // What has made it one makes its own children so, too.
        return std::env::args().skip(1).collect();
    }
    let is_test = std::env::var_os("CARGO_MANIFEST_DIR").is_some()
        && std::env::current_exe()
            .is_ok_and(|exe| exe.parent().is_some_and(|dir| dir.ends_with("deps")));
    if is_test {
        // Quiet: a killed child must not leave half a line of the harness's in the log of the tests.
        ["--exact", CHILD_TEST, "--nocapture", "--quiet", "--test-threads=1", CHILD_ARGUMENT]
            .map(str::to_owned)
            .to_vec()
    } else {
        vec![CHILD_ARGUMENT.to_owned()]
    }
}

/// The standard input of a child, moved away from descriptor 0: first the bootstrap, then the life line. Beside it its standard output,
/// through which a tunnel may lead; until one does, and where none does, what is printed goes there as well, and the parent hears it.
#[derive(Debug)]
pub struct LifeLine {
    input: File,
    output: File,
}

impl LifeLine {
    /// Takes standard input over, unbuffered; the null device takes its place, so that nothing that the author's code reads or starts can
    /// touch it.
    ///
    /// # Errors
    /// What the system says.
    pub fn take() -> io::Result<Self> {
        let line = io::stdin().as_fd().try_clone_to_owned()?;
        // Some launcher may have made it one that does not wait.
        let flags = rustix::fs::fcntl_getfl(&line)?;
        rustix::fs::fcntl_setfl(&line, flags - rustix::fs::OFlags::NONBLOCK)?;
        let null = File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self { input: File::from(line), output: File::from(output) })
    }

    /// Reads the bootstrap.
    ///
    /// # Errors
    /// What the input says when it is no bootstrap.
    pub fn bootstrap(&mut self) -> io::Result<Bootstrap> {
        Bootstrap::read(&mut self.input)
    }

    /// Watches the line from a thread of its own: when it ends, `lost` is called, and unless that says that the process lives on, it is ended
    /// if it is still there after `grace` (protocol rule 33).
    pub fn watch(mut self, grace: Duration, lost: impl FnOnce() -> bool + Send + 'static) {
        let watchdog = move || {
            let mut byte = [0; 64];
            // The parent sends nothing more: whatever ends the read is the end.
            while matches!(self.input.read(&mut byte), Ok(1..)) {}
            end_by(grace, lost);
        };
        // Without a watchdog the parent's loss is still noticed on the link.
        let _ = std::thread::Builder::new().name("actogen-life-line".into()).spawn(watchdog);
    }

    /// As [`Self::watch`], with a tunnel through both pipes: `receive` reads the one until it ends, which is the end of the line, and `send`
    /// writes to the other, each on a thread of its own. From now on what is printed goes to standard error. `sync` goes first.
    ///
    /// # Errors
    /// What the system says.
    pub fn carry(
        mut self,
        sync: [u8; 16],
        receive: impl FnOnce(&mut File) + Send + 'static,
        send: impl FnOnce(&mut File) + Send + 'static,
        grace: Duration,
        lost: impl FnOnce() -> bool + Send + 'static,
    ) -> io::Result<()> {
        rustix::stdio::dup2_stdout(io::stderr())?;
        self.output.write_all(&sync)?;
        let Self { mut input, mut output } = self;
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("actogen-tunnel-out").spawn(move || send(&mut output))?;
        thread("actogen-tunnel-in").spawn(move || {
            receive(&mut input);
            end_by(grace, lost);
        })?;
        Ok(())
    }
}

/// Lets go of what the launcher hears: nobody does any more, and what nobody hears must not end the process.
///
/// # Errors
/// What the system says.
pub fn fall_silent() -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

/// The parent is gone: says so, and ends the process if it is still there after a while, unless it lives on.
fn end_by(grace: Duration, lost: impl FnOnce() -> bool) {
    if lost() {
        return;
    }
    std::thread::sleep(grace);
    std::process::exit(113);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap() -> Bootstrap {
        Bootstrap {
            launch: 3,
            secret: [7; 32],
            parent: ContextId(2),
            endpoint: "127.0.0.1:4433".into(),
            mesh: "a.test".into(),
            roots: vec![1; 500],
            max_message: 1 << 20,
            detection_millis: 10_000,
            carrier: Carrier::Auto,
            program: None,
            log_filter: None,
            sync: [9; 16],
        }
    }

    #[test]
    fn a_bootstrap_survives_and_leaves_what_follows() {
        let mut bytes = bootstrap().encode();
        bytes.extend_from_slice(b"life line");
        let mut input = &bytes[..];
        assert_eq!(Bootstrap::read(&mut input).unwrap(), bootstrap());
        assert_eq!(input, b"life line");
    }

    #[test]
    fn m21_garbage_truncation_and_lengths_beyond_reason_are_errors() {
        let bytes = bootstrap().encode();
        for cut in [0, 5, 11, 12, bytes.len() - 1] {
            assert!(Bootstrap::read(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Bootstrap::read(&mut &b"Welcome to host x\nlast login: never"[..]).is_err());
        let mut long = bytes.clone();
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Bootstrap::read(&mut &long[..]).is_err());
    }

    #[test]
    fn a_bootstrap_prints_no_secret() {
        assert!(!format!("{:?}", bootstrap()).contains("7, 7"));
    }
}
