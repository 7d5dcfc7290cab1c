//! The program that ssh asks for a password: a script that reads it from a pipe with a name, in a folder that is its user's alone.
//!
//! ssh closes everything that it inherits, and takes a password from a terminal or from such a program only. The password passes through the
//! pipe and is in no file, argument or variable.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::how::Password;

/// How often it is looked whether ssh has begun to ask.
const LOOK: Duration = Duration::from_millis(20);

/// A folder with the script and the pipe; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Askpass {
    folder: PathBuf,
    is_over: Arc<AtomicBool>,
}

impl Askpass {
    pub(super) fn new(password: &Password) -> io::Result<Self> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("actogen-askpass-{:016x}", u64::from_le_bytes(name));
        let folder = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let askpass = Self { folder, is_over: Arc::default() };
        let (script, pipe) = (askpass.folder.join("ask"), askpass.folder.join("pipe"));
        let quoted = pipe.to_str().and_then(|pipe| shlex::try_quote(pipe).ok());
        let quoted = quoted
            .ok_or_else(|| io::Error::other("the folder for temporary files has no plain name"))?;
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )?;
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&script)?;
        write!(file, "#!/bin/sh\nexec cat {quoted}\n")?;
        drop(file);
        let (password, is_over) = (password.clone(), askpass.is_over.clone());
        // To open such a pipe waits for its other end; a thread that looks again and again can be told that nobody will come.
        std::thread::Builder::new().name("actogen-askpass".into()).spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
                let open = fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(&pipe);
                if let Ok(mut pipe) = open {
                    // Asked once: a second question means that the first answer was wrong.
                    let line = zeroize::Zeroizing::new(format!("{}\n", password.reveal()));
                    let _ = pipe.write_all(line.as_bytes());
                    return;
                }
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(askpass)
    }

    /// The variables by which ssh finds it.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("SSH_ASKPASS", self.folder.join("ask")),
            ("SSH_ASKPASS_REQUIRE", "force".into()),
            // Older versions ask it only where there is a display.
            ("DISPLAY", "none:0".into()),
        ]
    }
}

impl Drop for Askpass {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // What is left of it holds nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
