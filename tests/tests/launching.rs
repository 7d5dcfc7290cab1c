//! Contexts launched by tools: by a real sshd, sudo, Docker and nsenter, and by stubs that fail as tools do.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{fs, path::Path, sync::Arc, time::Duration};

use actogen::{
    Carrier, HostKeys, Launch, LaunchError, Mesh, Reached, gather,
    prelude::*,
    quic::{Clock, MachineClock, MeshAuthority},
};
use support::{Container, Sleeper, Sshd, Stub, User, is_there, patient, skip};

actogen::test_child!();

/// The user's number, the run, and whether the variable came along.
#[actogen::function]
fn who_am_i() -> (u32, Option<String>, Option<String>) {
    let variable = |name| std::env::var(name).ok();
    (rustix::process::getuid().as_raw(), variable("ACTOGEN_RUN"), variable("LAUNCH_TEST"))
}

/// The clock of a machine on which it is next year.
#[derive(Debug)]
struct NextYear;

impl Clock for NextYear {
    fn wall(&self) -> Duration {
        MachineClock.wall() + Duration::from_secs(365 * 24 * 3600)
    }

    fn steady(&self) -> Duration {
        MachineClock.steady()
    }
}

/// Launches a context below this one; gives its process's answer.
#[actogen::function]
async fn ask_below(cx: Context) -> actogen::Result<u32> {
    let below = cx.launch(Launch::local()).await?;
    Ok(below.call::<who_am_i>(()).await?.0)
}

/// For its children the root's clock is a year fast, and for the root theirs a year slow: they are launched, over UDP and through pipes, and
/// launch others.
#[actogen::test]
async fn machines_whose_clocks_are_a_year_apart_are_launched(_: Context) -> actogen::Result<()> {
    let authority = MeshAuthority::generate("times.test")?.with_clock(Arc::new(NextYear));
    let mesh = Mesh::of_authority(authority);
    let root = Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?;
    for carrier in [Carrier::Udp, Carrier::Pipe] {
        let child = root.launch(Launch::local().carrier(carrier)).await?;
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(child.call::<ask_below>(()).await?, uid);
    }
    root.shutdown().await;
    Ok(())
}

/// Waits until a context has gone.
async fn gone(cx: &Context, child: &Child) {
    let mut events = cx.events();
    let id = child.id();
    while cx.place_of(id).is_some() {
        let _ = events.next().await;
    }
}

#[actogen::test]
async fn m20_m24_ssh_launches_and_sends_the_program_once(cx: Context) -> actogen::Result<()> {
    let Some(sshd) = Sshd::start("m20_m24_ssh") else { return Ok(()) };
    let child = cx.launch(sshd.launch().env("LAUNCH_TEST", "it's here")).await?;
    let (_, run, variable) = child.call::<who_am_i>(()).await?;
    assert_eq!(run, Some(cx.run_id()));
    assert_eq!(variable.as_deref(), Some("it's here"));
    let [cached] = &sshd.cached()[..] else { panic!("{:?}", sshd.cached()) };
    let sent = fs::metadata(cached)?.len();
    assert_eq!(sent, fs::metadata(std::env::current_exe()?)?.len());
    let first = inode(cached);
    let second = cx.launch(sshd.launch()).await?;
    assert_eq!(second.parent(), cx.place());
    assert_eq!((sshd.cached().len(), inode(cached)), (1, first), "it was found by its hash");
    // What lies there under its hash and is another program does not get far, and is sent anew.
    let spoilt = sshd.folder().join("spoilt");
    fs::copy(cached, &spoilt)?;
    append(&spoilt, b"spoilt");
    fs::rename(&spoilt, cached)?;
    let error = cx.launch(sshd.launch()).await.unwrap_err();
    assert!(error.to_string().contains("not the one that was sent for"), "{error}");
    assert_eq!(sshd.cached(), Vec::<std::path::PathBuf>::new());
    cx.launch(sshd.launch()).await?;
    // A changed program is another one.
    let changed = sshd.folder().join("changed");
    fs::copy(std::env::current_exe()?, &changed)?;
    append(&changed, b"changed");
    cx.launch(sshd.launch().program(&changed)).await?;
    assert_eq!(sshd.cached().len(), 2);
    Ok(())
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

#[actogen::test]
async fn a_child_behind_ssh_ends_with_its_tool_and_is_lost(cx: Context) -> actogen::Result<()> {
    let Some(sshd) = Sshd::start("a_child_behind_ssh") else { return Ok(()) };
    let child = cx.launch(sshd.launch()).await?;
    child.kill().await;
    tokio::time::timeout(Duration::from_secs(15), gone(&cx, &child)).await?;
    Ok(())
}

#[actogen::test]
async fn m01_m20_ssh_via_ssh_is_a_grandchild(cx: Context) -> actogen::Result<()> {
    let Some(sshd) = Sshd::start("m01_m20_ssh_via_ssh") else { return Ok(()) };
    let child = cx.launch(sshd.launch()).await?;
    let grandchild = cx.launch(sshd.launch().via(&child)).await?;
    assert_eq!(grandchild.parent(), child.place());
    let (_, run, _) = grandchild.call::<who_am_i>(()).await?;
    assert_eq!(run, Some(cx.run_id()), "the run is the root's at every depth");
    // A local process of the grandchild's, asked for from here.
    let third = cx.launch(Launch::local().via(&grandchild)).await?;
    assert_eq!(third.parent(), grandchild.place());
    third.call::<who_am_i>(()).await?;
    third.kill().await;
    assert_eq!(third.exited().await, "it has ended before");
    // Errors come back as the same kinds.
    let nowhere = Launch::ssh("127.0.0.1").port(1).tool_argument("-F/dev/null").via(&grandchild);
    let error = cx.launch(nowhere).await.unwrap_err();
    assert!(matches!(error, LaunchError::Unreachable { .. }), "{error}");
    Ok(())
}

#[actogen::test]
async fn m19_ssh_refusals_are_told_apart(cx: Context) -> actogen::Result<()> {
    let Some(sshd) = Sshd::start("m19_ssh_refusals") else { return Ok(()) };
    let strange = sshd.folder().join("strange");
    support::make_key(&strange);
    let no_login = cx.launch(sshd.launch().identity(strange.to_str().unwrap())).await.unwrap_err();
    assert!(matches!(no_login, LaunchError::Login { .. }), "{no_login}");
    let unknown = sshd.launch_trusting("/dev/null").host_keys(HostKeys::Strict);
    let unknown = cx.launch(unknown).await.unwrap_err();
    assert!(matches!(unknown, LaunchError::HostKey { .. }), "{unknown}");
    assert!(unknown.to_string().contains("Host key verification failed"), "{unknown}");
    Ok(())
}

#[actogen::test]
async fn m19_ssh_takes_a_password_and_says_when_it_is_wrong(cx: Context) -> actogen::Result<()> {
    let Some(user) = User::add("m19_ssh_password", "open sesame") else { return Ok(()) };
    let Some(sshd) = Sshd::start("m19_ssh_password") else { return Ok(()) };
    let with = |password: &str| sshd.launch_without_key().user(user.name()).password(password);
    let child = cx.launch(with("open sesame")).await?;
    assert_eq!(child.call::<who_am_i>(()).await?.0, user.id());
    child.kill().await;
    let error = cx.launch(with("open barley")).await.unwrap_err();
    assert!(matches!(error, LaunchError::Password { .. }), "{error}");
    assert!(!format!("{error:?} {:?}", with("secret")).contains("barley"));
    Ok(())
}

#[actogen::test]
async fn m20_sudo_becomes_another_user(cx: Context) -> actogen::Result<()> {
    if !is_there("sudo") || !rustix::process::getuid().is_root() {
        skip("m20_sudo", "sudo, and root to call it without a password");
        return Ok(());
    }
    let child = cx.launch(patient(Launch::sudo("nobody"))).await?;
    let (user, run, _) = child.call::<who_am_i>(()).await?;
    assert_ne!(user, 0);
    assert_eq!(run, Some(cx.run_id()));
    let error = cx.launch(Launch::sudo("no-such-user")).await.unwrap_err();
    assert!(matches!(error, LaunchError::Login { .. }), "{error}");
    Ok(())
}

#[actogen::test]
async fn m19_sudo_takes_a_password_and_says_when_it_is_wrong(cx: Context) -> actogen::Result<()> {
    let Some(user) = User::add("m19_sudo_password", "open sesame") else { return Ok(()) };
    let Some(_rule) = user.may_sudo_with_password() else { return Ok(()) };
    let first = cx.launch(patient(Launch::sudo(user.name()))).await?;
    let with = |password: &str| {
        // Not remembered from one launch to the next.
        patient(Launch::sudo("root")).tool_argument("-k").password(password).via(&first)
    };
    let child = cx.launch(with("open sesame")).await?;
    assert_eq!(child.call::<who_am_i>(()).await?.0, 0);
    child.kill().await;
    let error = cx.launch(with("open barley")).await.unwrap_err();
    assert!(matches!(error, LaunchError::Password { .. }), "{error}");
    let without = Launch::sudo("root").tool_argument("-k").via(&first);
    let error = cx.launch(without).await.unwrap_err();
    assert!(matches!(error, LaunchError::Login { .. }), "{error}");
    Ok(())
}

#[actogen::test]
async fn m20_su_answers_a_password(cx: Context) -> actogen::Result<()> {
    if !is_there("su") {
        skip("m20_su", "su");
        return Ok(());
    }
    let Some(first) = User::add("m20_su_by", "open rye") else { return Ok(()) };
    let Some(second) = User::add("m20_su_second", "open sesame") else { return Ok(()) };
    // Root is asked for nothing.
    let as_first = cx.launch(patient(Launch::su(first.name()))).await?;
    let with =
        |password: &str| patient(Launch::su(second.name())).password(password).via(&as_first);
    let child = cx.launch(with("open sesame")).await?;
    assert_eq!(child.call::<who_am_i>(()).await?.0, second.id());
    let error = cx.launch(with("open barley")).await.unwrap_err();
    assert!(matches!(error, LaunchError::Password { .. }), "{error}");
    let without = patient(Launch::su(second.name())).via(&as_first);
    let error = cx.launch(without).await.unwrap_err();
    assert!(matches!(error, LaunchError::Login { .. }), "{error}");
    Ok(())
}

#[actogen::test]
async fn m20_docker_launches_in_a_container(cx: Context) -> actogen::Result<()> {
    let Some(container) = Container::start("m20_docker", "host") else { return Ok(()) };
    let child = cx.launch(patient(Launch::docker(container.name()))).await?;
    assert_eq!(child.call::<who_am_i>(()).await?.1, Some(cx.run_id()));
    let error = cx.launch(Launch::docker("actogen-no-such-container")).await.unwrap_err();
    assert!(matches!(error, LaunchError::Unreachable { .. }), "{error}");
    Ok(())
}

#[actogen::test]
async fn m20_nsenter_launches_in_the_namespaces_of_a_process(cx: Context) -> actogen::Result<()> {
    let Some(sleeper) = Sleeper::start("m20_nsenter") else { return Ok(()) };
    let child = cx.launch(patient(Launch::nsenter(sleeper.pid()))).await?;
    child.call::<who_am_i>(()).await?;
    let error = cx.launch(Launch::nsenter(u32::MAX >> 2)).await.unwrap_err();
    assert!(matches!(error, LaunchError::Unreachable { .. }), "{error}");
    Ok(())
}

/// Prints what a program prints, and gives the bytes back.
#[actogen::function]
fn print_and_echo(bytes: Vec<u8>) -> Vec<u8> {
    println!("a line on standard output");
    print!("no line's end");
    bytes
}

#[actogen::test]
async fn a_link_goes_through_pipes_whatever_the_program_prints(cx: Context) -> actogen::Result<()> {
    let stub = Stub::new("echo Welcome");
    let child = cx.launch(stub.launch().carrier(Carrier::Pipe)).await?;
    assert_eq!(child.carrier(), Carrier::Pipe);
    for length in [0, 100, 60_000, 4_000_000] {
        let bytes: Vec<u8> = (0..length).map(|n: usize| n as u8).collect();
        assert_eq!(child.call::<print_and_echo>(bytes.clone()).await?, bytes, "{length} bytes");
    }
    // Both directions at once, far more than the pipes hold.
    let calls = (0..32).map(|n| child.call::<print_and_echo>(vec![n; 500_000]));
    for (n, echoed) in gather(calls).await.into_iter().enumerate() {
        assert!(echoed?.iter().all(|&byte| usize::from(byte) == n));
    }
    // It can have children of its own, by UDP on its own machine and by pipes.
    for carrier in [Carrier::Udp, Carrier::Pipe] {
        let grandchild = cx.launch(Launch::local().carrier(carrier).via(&child)).await?;
        assert_eq!(grandchild.carrier(), carrier);
        grandchild.call::<who_am_i>(()).await?;
    }
    child.kill().await;
    tokio::time::timeout(Duration::from_secs(15), gone(&cx, &child)).await?;
    Ok(())
}

#[actogen::test]
async fn a_link_falls_back_to_pipes_where_udp_does_not_pass(cx: Context) -> actogen::Result<()> {
    let Some(container) = Container::start("a_link_falls_back", "none") else { return Ok(()) };
    let child = cx.launch(patient(Launch::docker(container.name()))).await?;
    assert_eq!(child.carrier(), Carrier::Pipe);
    let (_, run, _) = child.call::<who_am_i>(()).await?;
    assert_eq!(run, Some(cx.run_id()));
    // The child gives up by itself, and says why.
    let refused = patient(Launch::docker(container.name())).carrier(Carrier::Udp);
    let error = cx.launch(refused).await.unwrap_err();
    assert!(matches!(error, LaunchError::Exited { .. }), "{error}");
    assert!(error.to_string().contains("does UDP pass?"), "{error}");
    Ok(())
}

#[actogen::test]
async fn m21_a_noisy_login_is_no_hindrance(cx: Context) -> actogen::Result<()> {
    let stub = Stub::new("echo Welcome; echo 'No mail.' >&2; seq 500; printf 'last login: never '");
    let child = cx.launch(stub.launch()).await?;
    child.call::<who_am_i>(()).await?;
    Ok(())
}

#[actogen::test]
async fn m19_m21_what_comes_instead_of_a_first_stage_is_an_error_within_the_limit(
    cx: Context,
) -> actogen::Result<()> {
    for script in ["yes", "yes | tr -d '\\n'", "cat /dev/zero", "exit 3", "echo closed; exit 0"] {
        let stub = Stub::new(&format!("{script}; exit"));
        let error = cx.launch(stub.launch()).await.unwrap_err();
        assert!(matches!(error, LaunchError::NoStage { .. }), "{script}: {error}");
    }
    let silent = Stub::new("sleep 1000");
    let launch = silent.launch().within(Duration::from_millis(300));
    let error = cx.launch(launch).await.unwrap_err();
    let LaunchError::Timeout { reached: Reached::Nothing, .. } = error else { panic!("{error}") };
    let missing = Launch::ssh("there").tool("/no/such/tool");
    let error = cx.launch(missing).await.unwrap_err();
    assert!(matches!(error, LaunchError::ToolMissing { .. }), "{error}");
    Ok(())
}

#[actogen::test]
async fn m19_another_kind_of_machine_takes_another_program(cx: Context) -> actogen::Result<()> {
    let stub = Stub::new("").with("uname", "echo Linux vax");
    let error = cx.launch(stub.launch()).await.unwrap_err();
    let LaunchError::Architecture { there, here, .. } = &error else { panic!("{error}") };
    assert_eq!((there.as_str(), here.starts_with("Linux ")), ("Linux vax", true));
    let given = stub.launch().binary_for("Linux vax", std::env::current_exe()?);
    cx.launch(given).await?.call::<who_am_i>(()).await?;
    Ok(())
}

#[actogen::test]
async fn m19_a_directory_that_is_not_there_is_told(cx: Context) -> actogen::Result<()> {
    let stub = Stub::new("");
    let error = cx.launch(stub.launch().directory("/no/such/folder")).await.unwrap_err();
    let LaunchError::Spawn { program, .. } = &error else { panic!("{error}") };
    assert_eq!(program, "/no/such/folder");
    Ok(())
}

#[actogen::test]
async fn m19_a_full_disk_and_a_program_that_fails_are_told(cx: Context) -> actogen::Result<()> {
    let full = Stub::new("")
        .with("gzip", "cat >/dev/null; echo 'gzip: stdout: No space left on device' >&2; exit 1");
    let error = cx.launch(full.launch()).await.unwrap_err();
    assert!(matches!(error, LaunchError::NoSpace { .. }), "{error}");
    let broken = Stub::new("").with("gzip", "exit 1");
    let error = cx.launch(broken.launch()).await.unwrap_err();
    assert!(matches!(error, LaunchError::Shipping { .. }), "{error}");
    // `true` is a program, and not one of ours.
    let early = Stub::new("");
    let error = cx.launch(early.launch().program("/bin/true")).await.unwrap_err();
    assert!(matches!(error, LaunchError::Exited { .. }), "{error}");
    Ok(())
}

#[actogen::test]
async fn many_are_launched_with_a_bound_and_each_is_told_as_it_comes(
    cx: Context,
) -> actogen::Result<()> {
    let launches = (0..6).map(|n| {
        let local = Launch::local();
        if n == 3 { local.program("/no/such/program") } else { local }
    });
    let mut launching = cx.launch_many(launches, 3);
    let mut places = Vec::new();
    let mut children = Vec::new();
    while let Some((place, launched)) = launching.next().await {
        places.push(place);
        match launched {
            Ok(child) => children.push(child),
            Err(error) => assert_eq!(place, 3, "{error}"),
        }
    }
    places.sort_unstable();
    assert_eq!((places, children.len()), ((0..6).collect(), 5));
    Ok(())
}
