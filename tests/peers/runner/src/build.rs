//! How we and the peers are made: by cargo, each package alone, and by `erlc`.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::{
    Error,
    peer::{Built, Made, Peer},
    process::Processes,
    report::Trouble,
};

const OURS: &str = "actogen-bench";
/// libp2p on one slow core.
const LIMIT: Duration = Duration::from_secs(3600);

/// The root of the peers' workspace.
fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Builds `actogen-bench`.
///
/// # Errors
/// That it could not be built.
pub(crate) fn ours(processes: &Processes) -> Result<PathBuf, Error> {
    cargo(processes, &workspace().join("../.."), OURS)
        .map_err(|why| format!("{OURS} could not be built: {why}").into())
}

/// Builds those peers that can be built; the others are troubles.
pub(crate) fn peers(processes: &Processes, wanted: &[&'static Peer]) -> (Vec<Built>, Vec<Trouble>) {
    let (mut built, mut troubles) = (Vec::new(), Vec::new());
    for peer in wanted {
        let path = match peer.made {
            Made::Package { package, .. } => cargo(processes, workspace(), package),
            Made::Erlang => erlc(processes),
        };
        match path {
            Ok(path) => built.push(Built { peer, path }),
            Err(why) => troubles.push(Trouble::Skipped { peer: peer.name, why: why.to_string() }),
        }
    }
    (built, troubles)
}

/// Builds a package, and says where its program lies.
fn cargo(processes: &Processes, workspace: &Path, package: &str) -> Result<PathBuf, Error> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace).args([
        "build",
        "--release",
        "--locked",
        "--message-format=json-render-diagnostics",
        "-p",
        package,
    ]);
    let finished = processes
        .run(&mut command, LIMIT, false)
        .map_err(|error| format!("`cargo build -p {package}`: {error}"))?;
    if !finished.status.success() {
        let status = finished.status;
        return Err(
            format!("`cargo build -p {package}` failed ({status}), and said why above").into()
        );
    }
    finished
        .lines
        .iter()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| format!("`cargo build -p {package}` made no program").into())
}

/// Compiles Erlang's modules beside this program, and says into which folder.
fn erlc(processes: &Processes) -> Result<PathBuf, Error> {
    let program = std::env::current_exe()?;
    let folder = program.parent().ok_or("this program lies in no folder")?.join("erlang");
    fs::create_dir_all(&folder)?;
    let mut sources: Vec<PathBuf> = fs::read_dir(workspace().join("erlang"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    sources.retain(|path| path.extension() == Some(OsStr::new("erl")));
    if find("erl").is_none() {
        return Err("`erl` is not installed; Debian has it in `erlang-base`".into());
    }
    let mut command = Command::new("erlc");
    command.args(["-Wall", "-Werror", "-o"]).arg(&folder).args(sources);
    let finished = processes
        .run(&mut command, LIMIT, false)
        .map_err(|error| format!("`erlc`, which comes with Erlang's compiler: {error}"))?;
    if finished.status.success() {
        Ok(folder)
    } else {
        Err(format!("`erlc` failed: {}", finished.lines.join(" ")).into())
    }
}

/// Erlang's first node. It starts the second one with what it is told here.
pub(crate) fn erl(folder: &Path) -> Command {
    let erl = find("erl").unwrap_or_else(|| "erl".into());
    // No two nodes of one name could be in one place.
    let name = format!("first{}@localhost", std::process::id());
    let mut command = Command::new(&erl);
    command
        // What is known is said on standard error; a dump would lie in whichever folder this is.
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        .args(["-noshell", "-pa"])
        .arg(folder)
        .args(["-sname", &name, "-setcookie", "peers"])
        .args(["-start_epmd", "false", "-epmd_module", "measured_epmd"])
        .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
        .arg("-second_erl")
        .arg(&erl)
        .arg("-second_folder")
        .arg(folder)
        .args(["-s", "measured", "first"]);
    command
}

/// Where a program lies that is installed.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// These packages with the versions that are built, from the lock file.
///
/// # Errors
/// Those of reading it, and that a package is not there.
pub(crate) fn versions(of: &[&str]) -> Result<Vec<String>, Error> {
    let lock = fs::read_to_string(workspace().join("Cargo.lock"))?;
    let version = |package: &&str| {
        let (_, rest) = lock
            .split_once(&format!("name = \"{package}\"\nversion = \""))
            .ok_or_else(|| format!("`{package}` is not in Cargo.lock"))?;
        let (version, _) = rest.split_once('"').ok_or("Cargo.lock is cut off")?;
        Ok(format!("{package} {version}"))
    };
    of.iter().map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        let versions = versions(&["actix"]).unwrap();
        assert!(versions[0].starts_with("actix 0.13."), "{versions:?}");
        assert!(super::versions(&["act"]).is_err());
    }

    #[test]
    fn programs_are_found_where_they_are_installed() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program"), None);
    }
}
