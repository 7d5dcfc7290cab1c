//! The first stage: a shell script that finds the program on the other machine, or takes it from its standard input, and becomes it.
//!
//! It is the whole of what must be there before the program is. What passes between it and the launcher, after the login:
//!
//! | launcher | first stage |
//! |---|---|
//! | | `MARK 1 KIND` when the cache has the program, `MARK 0 KIND` when not; `KIND` is what `uname -sm` prints |
//! | (only when not) a line with the length, and so many bytes of gzip | `MARK +` when it is in the cache now, `MARK -` when that failed |
//! | the bootstrap | (has become the program) |
//!
//! Standard input may be a pipe that does not wait, which neither `read` nor `head` copes with: the first words open it anew, as one that
//! does, where that can be done (a socket cannot be opened, nor a pipe of another user's; those wait).
//!
//! The program lies in the cache under its BLAKE3 hash, and is moved there when it is whole: one that is cut short is never run.
//!
//! A launcher may go at any instant: writing to it then raises `PIPE`, and a tool in between may send `HUP` or `TERM`. All of them end in the
//! clean-up of a shipment that failed.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

/// The longest first stage in bytes, with everything that a launch puts into it.
const LONGEST: usize = 1024;

/// The exit status of a first stage that could not put the program into the cache.
pub(super) const NOT_SHIPPED: &str = "exit status 77";

/// The exit status of one that could not enter the directory.
pub(super) const NO_DIRECTORY: &str = "exit status 76";

/// What a launch puts into its first stage.
pub(super) struct Stage<'a> {
    /// The program's hash in hexadecimal digits.
    pub(super) hash: &'a str,
    /// Begins the lines that are for the launcher: nobody else's output begins so.
    pub(super) mark: &'a str,
    /// The run that the context belongs to.
    pub(super) run: &'a str,
    pub(super) directory: Option<&'a str>,
    pub(super) environment: &'a [(String, String)],
    pub(super) arguments: &'a [String],
}

impl Stage<'_> {
    /// The script.
    ///
    /// # Errors
    /// What makes it too long, or cannot be quoted for a shell.
    pub(super) fn script(&self) -> Result<String, String> {
        let quote = |text: &str| {
            let quoted = shlex::try_quote(text).map(|quoted| quoted.into_owned());
            quoted.map_err(|_| format!("{text:?} holds a zero byte, which no shell takes"))
        };
        let mut words = vec![format!("ACTOGEN_RUN={}", quote(self.run)?)];
        for (name, value) in self.environment {
            if !is_name(name) {
                return Err(format!("{name:?} cannot be the name of a variable"));
            }
            words.push(format!("{name}={}", quote(value)?));
        }
        words.push("\"$f\"".to_owned());
        for argument in self.arguments {
            words.push(quote(argument)?);
        }
        let enter = match self.directory {
            Some(directory) => format!("cd -- {}||exit 76;", quote(directory)?),
            None => String::new(),
        };
        let Self { hash, mark, .. } = self;
        let script = format!(
            "(:</dev/stdin)2>&-&&exec</dev/stdin;t=;o=;u=`umask`;umask 077;q(){{ rm -rf \"$t\" $o;rmdir \"$d\";}};trap 'q;exit 77' HUP INT PIPE TERM;\
d=${{XDG_CACHE_HOME:-$HOME/.cache}}/actogen;mkdir -p \"$d\" 2>/dev/null;\
[ -w \"$d\" ]||{{ d=`mktemp -d /tmp/actogen.XXXXXX`||exit 77;o=$d;}};f=$d/{hash};\
[ -x \"$f\" ];s=$?;echo '{mark}' $((1-s)) `uname -sm`;\
if [ $s = 1 ];then t=$f.$$;read n&&head -c \"$n\"|gzip -dc>\"$t\"&&chmod 700 \"$t\"&&mv \"$t\" \"$f\"\
||{{ q;echo '{mark}' -;exit 77;}};echo '{mark}' +;fi;umask $u;{enter}exec env {}",
            words.join(" ")
        );
        if script.len() > LONGEST {
            return Err(format!(
                "the environment, directory and arguments make the first stage {} bytes long, at most {LONGEST} are sent: shorten them",
                script.len()
            ));
        }
        Ok(script)
    }
}

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// What the first stage says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It runs; whether the cache has the program, and which kind of machine it is.
    Found { cached: bool, kind: String },
    /// The program is in the cache now.
    Shipped,
    /// It is not.
    NotShipped,
}

/// What a line of output says, if it is for the launcher. What a login prints before it may stand on the same line.
pub(super) fn word(line: &str, mark: &str) -> Option<Word> {
    let (_, rest) = line.split_once(mark)?;
    let rest = rest.trim();
    match rest.split_once(' ') {
        Some(("1", kind)) => Some(Word::Found { cached: true, kind: kind.to_owned() }),
        Some(("0", kind)) => Some(Word::Found { cached: false, kind: kind.to_owned() }),
        None if rest == "+" => Some(Word::Shipped),
        None if rest == "-" => Some(Word::NotShipped),
        _ => None,
    }
}

/// The program as it is shipped: a line with a length, and so many bytes.
pub(super) fn shipment(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(program)?;
    let packed = packed.finish()?;
    let mut shipment = format!("{}\n", packed.len()).into_bytes();
    shipment.extend(packed);
    Ok(shipment)
}

/// The kind of this machine, as `uname -sm` gives it.
pub(super) fn kind_here() -> String {
    let uname = rustix::system::uname();
    format!("{} {}", uname.sysname().to_string_lossy(), uname.machine().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        process::{Command, Stdio},
    };

    use super::*;

    fn stage<'a>(arguments: &'a [String]) -> Stage<'a> {
        Stage {
            hash: "abc",
            mark: "MARK:1234",
            run: "00ff",
            directory: None,
            environment: &[],
            arguments,
        }
    }

    #[test]
    fn the_first_stage_is_short() {
        let hash = "f".repeat(64);
        let arguments = ["actogen:child:v1".to_owned()];
        let stage = Stage {
            hash: &hash,
            mark: "ACTOGEN1:0123456789abcdef",
            run: "0123456789abcdef",
            ..stage(&arguments)
        };
        let len = stage.script().unwrap().len();
        assert!(len <= 800, "it has {len} bytes");
    }

    /// Runs a first stage with this cache and input; gives its output, its status and what lies in the cache then.
    fn run(stage: &Stage<'_>, cache: &Path, input: &[u8]) -> (String, Option<i32>, Vec<String>) {
        let mut shell = Command::new("sh")
            .args(["-c", &stage.script().unwrap()])
            .env("XDG_CACHE_HOME", cache)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A shell that has ended takes nothing.
        let _ = shell.stdin.take().unwrap().write_all(input);
        let output = shell.wait_with_output().unwrap();
        let names = std::fs::read_dir(cache.join("actogen")).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        (String::from_utf8(output.stdout).unwrap(), output.status.code(), names)
    }

    /// Prints its variables, its arguments and its input.
    const PROGRAM: &[u8] =
        b"#!/bin/sh\nprintf '%s;' \"$ACTOGEN_RUN\" \"$TEXT\" \"$PWD\" \"$@\"\ncat\n";

    #[test]
    fn m24_a_program_is_sent_once_and_found_afterwards() {
        let cache = tempfile::tempdir().unwrap();
        let (arguments, environment) = (["a".to_owned()], [("TEXT".to_owned(), "t".to_owned())]);
        let mut stage = stage(&arguments);
        (stage.environment, stage.directory) = (&environment, Some("/"));
        let mut input = shipment(PROGRAM).unwrap();
        input.extend(b"bootstrap");
        let kind = kind_here();
        let (said, status, names) = run(&stage, cache.path(), &input);
        assert_eq!(said, format!("MARK:1234 0 {kind}\nMARK:1234 +\n00ff;t;/;a;bootstrap"));
        assert_eq!((status, names), (Some(0), vec!["abc".to_owned()]));
        let (said, status, _) = run(&stage, cache.path(), b"bootstrap");
        assert_eq!(said, format!("MARK:1234 1 {kind}\n00ff;t;/;a;bootstrap"));
        assert_eq!(status, Some(0));
    }

    #[test]
    fn m24_a_program_that_comes_in_part_or_broken_is_neither_kept_nor_run() {
        let whole = shipment(PROGRAM).unwrap();
        let mut broken = whole.clone();
        let middle = broken.len() - 12;
        broken[middle] ^= 0x55;
        for input in
            [&whole[..whole.len() - 9], &whole[..4], b"", &broken, b"12\nno gzip here", b"x\n"]
        {
            let cache = tempfile::tempdir().unwrap();
            let (said, status, names) = run(&stage(&[]), cache.path(), input);
            assert!(said.ends_with("MARK:1234 -\n"), "{said}");
            assert_eq!((status, names), (Some(77), Vec::new()));
        }
    }

    /// A shell in a place without a folder for caches, so that it makes one for this program alone; gives that folder once it says that it
    /// has looked for the program.
    fn asking(input: Stdio) -> (std::process::Child, std::path::PathBuf) {
        use std::{collections::HashSet, io::BufRead};
        let folders = || -> HashSet<_> {
            let entries = std::fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap().path());
            entries.filter(|path| path.to_string_lossy().contains("/actogen.")).collect()
        };
        let before = folders();
        let mut shell = Command::new("sh")
            .args(["-c", &stage(&[]).script().unwrap()])
            .env("XDG_CACHE_HOME", "/proc/nowhere")
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("MARK:1234 0 "), "{line}");
        let made = folders().into_iter().find(|folder| !before.contains(folder));
        (shell, made.expect("the shell has made a folder"))
    }

    #[test]
    fn m24_a_stage_whose_launcher_has_gone_leaves_nothing() {
        // Nobody reads what it says: the first word kills a shell that does not see to it.
        let (read, write) = rustix::pipe::pipe().unwrap();
        drop(read);
        let cache = tempfile::tempdir().unwrap();
        let status = Command::new("sh")
            .args(["-c", &stage(&[]).script().unwrap()])
            .env("XDG_CACHE_HOME", cache.path())
            .stdin(Stdio::null())
            .stdout(Stdio::from(write))
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(77));
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0, "the folder is there");
    }

    #[test]
    fn m24_a_stage_that_is_told_to_end_leaves_nothing() {
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
            let (mut shell, folder) = asking(Stdio::piped());
            let process = rustix::process::Pid::from_child(&shell);
            rustix::process::kill_process(process, signal).unwrap();
            assert_eq!(shell.wait().unwrap().code(), Some(77));
            assert!(!folder.exists());
        }
    }

    #[test]
    fn m21_a_small_pipe_that_does_not_wait_brings_it_all() {
        use rustix::{fs::OFlags, pipe};
        let (arguments, cache) = (["a".to_owned()], tempfile::tempdir().unwrap());
        // Noise that cannot be packed, so that it is many times the pipe's room.
        let noise: Vec<String> =
            (0..4000_u32).map(|n| format!("#{}", blake3::hash(&n.to_le_bytes()))).collect();
        let program = [PROGRAM, noise.join("\n").as_bytes()].concat();
        let (read, write) = pipe::pipe_with(pipe::PipeFlags::CLOEXEC).unwrap();
        pipe::fcntl_setpipe_size(&write, 4096).unwrap();
        rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK).unwrap();
        let shell = Command::new("sh")
            .args(["-c", &stage(&arguments).script().unwrap()])
            .env("XDG_CACHE_HOME", cache.path())
            .stdin(Stdio::from(read))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = shipment(&program).unwrap();
        assert!(input.len() > 64 * 1024);
        input.extend(b"bootstrap");
        let mut pipe = std::fs::File::from(write);
        // The shell has nothing to read at first, and again and again.
        for piece in input.chunks(3000) {
            std::thread::yield_now();
            pipe.write_all(piece).unwrap();
        }
        drop(pipe);
        let output = shell.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.ends_with(";a;bootstrap"), "{said}");
        assert!(output.status.success());
    }

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        let arguments = ["a  b".to_owned(), "$HOME;`id`'\"\\".to_owned(), String::new()];
        let environment = [("TEXT".to_owned(), "it's $HOME".to_owned())];
        let mut stage = stage(&arguments);
        stage.environment = &environment;
        let cache = tempfile::tempdir().unwrap();
        let (said, _, _) = run(&stage, cache.path(), &shipment(PROGRAM).unwrap());
        assert!(said.contains(";it's $HOME;"), "{said}");
        assert!(said.ends_with(";a  b;$HOME;`id`'\"\\;;"), "{said}");
        for bad in ["A=B", "", "1A", "A B"] {
            let environment = [(bad.to_owned(), String::new())];
            let script = Stage { environment: &environment, ..self::stage(&[]) }.script();
            assert!(script.is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_too_long_is_named() {
        let arguments = ["x".repeat(2000)];
        assert!(stage(&arguments).script().unwrap_err().contains("shorten"));
    }

    #[test]
    fn words_are_found_behind_a_banner() {
        let mark = "MARK:1";
        assert_eq!(
            word("Welcome! MARK:1 1 Linux x86_64\n", mark),
            Some(Word::Found { cached: true, kind: "Linux x86_64".into() })
        );
        assert_eq!(word("MARK:1 +", mark), Some(Word::Shipped));
        assert_eq!(word("MARK:1 -", mark), Some(Word::NotShipped));
        for noise in ["MARK:2 1 Linux", "MARK:1", "MARK:1 2 Linux", "Welcome", ""] {
            assert_eq!(word(noise, mark), None, "{noise}");
        }
    }
}
