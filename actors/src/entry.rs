//! How a program begins: as the root of a tree, or as a child in one.

use std::{
    fs::File,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    process::{ExitCode, Termination},
    sync::{Arc, OnceLock},
    time::Duration,
};

use actogen_runtime::{
    Admission, EnrolRequest, Phase,
    launch::{
        Carrier,
        bootstrap::{Bootstrap, LifeLine, fall_silent, is_child},
        cache,
    },
    logs::Logs,
};
use actogen_transport_quic::{
    EnrolError, Enrolled, JoinKey, QuicOptions, TUNNEL_ENDPOINT, Tunnel, enrol,
};

use crate::{Error, builder::ContextBuilder, context::Context, logs, mesh::Mesh};

/// The exit status of a child that could not join its parent (EX_UNAVAILABLE).
const CHILD_COULD_NOT_JOIN: u8 = 69;

/// How long a child that has lost its parent may take to end before it is ended.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// Runs `#[actogen::main]`: the author's function in the root context, or the child's loop in a process that was launched.
#[doc(hidden)]
pub fn run_main<F, Fut, T>(main: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = T>,
    T: Termination,
{
    if let Some(status) = run_as_child(|builder| builder) {
        return status;
    }
    logs::log_here();
    let status = actix::System::new().block_on(async move {
        let context = match root().await {
            Ok(context) => context,
            Err(error) => return Err(error),
        };
        let status = main(context.clone()).await.report();
        context.shutdown().await;
        Ok(status)
    });
    match status {
        Ok(status) => status,
        Err(error) => {
            eprintln!("actogen: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `#[actogen::test]`: the author's function in a fresh root context, in a runtime of its own.
#[doc(hidden)]
pub fn run_test<F, Fut, T>(_module: &str, name: &str, test: F)
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = T>,
    T: TestOutcome,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a test needs a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let context = root()
            .await
            .unwrap_or_else(|error| panic!("the context of test `{name}` did not start: {error}"));
        let outcome = test(context.clone()).await;
        context.shutdown().await;
        if let Err(text) = outcome.into_result() {
            panic!("test `{name}` failed: {text}");
        }
    });
}

/// What a test may return.
#[doc(hidden)]
pub trait TestOutcome {
    /// The text of the failure.
    fn into_result(self) -> Result<(), String>;
}

impl TestOutcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: std::fmt::Debug> TestOutcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// A root with an authority of its own, which listens on the loopback interface for the children it launches.
async fn root() -> Result<Context, Error> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(|error| Error::from(error.to_string()))?;
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let mesh = Mesh::fresh(&format!("{name}.local"))?;
    let builder = Context::builder().mesh(mesh).listen("127.0.0.1:0");
    let builder = match std::env::var("RUST_LOG") {
        Ok(filter) => builder.log_filter(filter),
        Err(_) => builder,
    };
    Ok(builder.start().await?)
}

/// Becomes the child of a test program; called by `actogen::test_child!`.
#[doc(hidden)]
pub fn test_child() {
    if let Some(status) = run_as_child(|builder| builder) {
        std::process::exit(i32::from(status != ExitCode::SUCCESS));
    }
}

/// Lives as the child that this process was launched as, until it is asked to end or its parent is gone; `None` at once where it was
/// not launched. `change` may change the settings of the child's context, such as its placement; its identity and its parent come
/// with the launch.
///
/// `#[actogen::main]` does this with the settings unchanged. A program that wants others, or that must not be a root before it has read
/// its command line, calls this first in a plain `main`.
pub fn run_as_child(change: impl FnOnce(ContextBuilder) -> ContextBuilder) -> Option<ExitCode> {
    is_child().then(|| run_child(change))
}

/// The child's life: enrols, links back, serves.
fn run_child(change: impl FnOnce(ContextBuilder) -> ContextBuilder) -> ExitCode {
    cache::tidy_own();
    let begun =
        LifeLine::take().and_then(|mut line| line.bootstrap().map(|bootstrap| (line, bootstrap)));
    let (line, bootstrap) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            eprintln!(
                "actogen: this process was started as a child but got no bootstrap on standard input: {error}. \
                 Launch it with `Context::launch`."
            );
            return ExitCode::from(CHILD_COULD_NOT_JOIN);
        }
    };
    if let Some(hash) = &bootstrap.program
        && !cache::is_own(hash)
    {
        cache::remove_own();
        eprintln!(
            "actogen: this program is not the one that was sent for; it has been removed from the cache here: launch again"
        );
        return ExitCode::from(CHILD_COULD_NOT_JOIN);
    }
    let records = Arc::<Logs>::default();
    logs::log_to(records.clone(), bootstrap.log_filter.as_deref());
    let own = records.clone();
    let outcome = actix::System::new().block_on(async move {
        let context = join(line, &bootstrap, own, change).await?;
        let mut phase = context.phase();
        let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
        logs::flush(&context).await;
        context.shutdown().await;
        Ok::<_, Error>(())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs::put_out_all(&records);
            eprintln!("actogen: this child could not join its parent: {error}");
            ExitCode::from(CHILD_COULD_NOT_JOIN)
        }
    }
}

/// How long UDP may take to show that it passes, where there is another way.
const UDP_TRIAL: Duration = Duration::from_secs(2);

/// Enrols and links back, by what may carry it. From then on the line is watched.
async fn join(
    line: LifeLine,
    bootstrap: &Bootstrap,
    records: Arc<Logs>,
    change: impl FnOnce(ContextBuilder) -> ContextBuilder,
) -> Result<Context, Error> {
    let key = JoinKey::generate();
    let udp = QuicOptions::dial_only;
    let by_udp = match bootstrap.carrier {
        Carrier::Pipe => None,
        Carrier::Auto => {
            let mut trial = udp();
            trial.handshake_time = UDP_TRIAL;
            match enrol_over(trial, &bootstrap.endpoint, bootstrap, &key).await {
                Ok(enrolled) => Some(enrolled),
                Err(EnrolError::Dial(_)) => None,
                Err(error) => return Err(error.into()),
            }
        }
        _ => Some(enrol_over(udp(), &bootstrap.endpoint, bootstrap, &key).await?),
    };
    let orphan = Arc::<OnceLock<Context>>::default();
    let lost = {
        let (orphan, launcher) = (orphan.clone(), bootstrap.parent);
        move || match orphan.get() {
            Some(context) => {
                context.launcher_is_gone(launcher, "its process is gone");
                context.outlives_parent()
            }
            None => false,
        }
    };
    let (enrolled, tunnel) = match by_udp {
        Some(enrolled) => {
            line.watch(ORPHAN_GRACE, lost);
            (enrolled, None)
        }
        None => {
            let tunnel = dig(line, bootstrap.sync, lost)?;
            let through = udp().with_socket(tunnel.clone());
            (enrol_over(through, TUNNEL_ENDPOINT, bootstrap, &key).await?, Some(tunnel))
        }
    };
    let admission = Admission::decode(&enrolled.answer)
        .ok_or_else(|| Error::from("the parent's answer does not decode".to_owned()))?;
    let identity = enrolled.identity(key, &admission.certificate)?;
    let limits = crate::Limits {
        max_message: usize::try_from(bootstrap.max_message).unwrap_or(usize::MAX),
        detection_time: Duration::from_millis(bootstrap.detection_millis),
        ..crate::Limits::default()
    };
    let mut limits = limits;
    limits.link_large_bytes = limits.link_large_bytes.max(limits.max_message);
    limits.reassembly_bytes = limits.reassembly_bytes.max(limits.max_message);
    let builder = Context::builder()
        .limits(limits)
        .mesh(Mesh::enrolled(identity))
        .incarnation(admission.incarnation)
        .logs(records);
    let builder = match &bootstrap.log_filter {
        Some(filter) => builder.log_filter(filter),
        None => builder,
    };
    let builder = match tunnel {
        None => builder
            .listen(beside(&bootstrap.endpoint))
            .connect_to(&bootstrap.endpoint, bootstrap.parent),
        Some(tunnel) => builder
            .listen("127.0.0.1:0")
            .quic(|options| options.uplink = Some(tunnel))
            .connect_to(TUNNEL_ENDPOINT, bootstrap.parent),
    };
    let context = change(builder).start().await?;
    let _ = orphan.set(context.clone());
    let detached = context.clone();
    context.spawn(async move {
        detached.detached().await;
        if let Err(error) = fall_silent() {
            tracing::warn!("what this process prints still goes to its old parent: {error}");
        }
    });
    Ok(context)
}

/// Asks for an identity; the answer is the encoded admission.
async fn enrol_over(
    options: QuicOptions,
    endpoint: &str,
    bootstrap: &Bootstrap,
    key: &JoinKey,
) -> Result<Enrolled, EnrolError> {
    let Bootstrap { launch, secret, roots, mesh, parent, .. } = bootstrap;
    let request = EnrolRequest::new(*launch, secret, key.request()).encode();
    enrol(options, endpoint, roots, mesh, *parent, request.into()).await
}

/// Opens a tunnel through the life line, which it is from then on as well.
fn dig(
    line: LifeLine,
    sync: [u8; 16],
    lost: impl FnOnce() -> bool + Send + 'static,
) -> std::io::Result<Arc<Tunnel>> {
    let tunnel = Arc::<Tunnel>::default();
    let (receiver, sender) = (tunnel.clone(), tunnel.clone());
    let receive = move |input: &mut File| {
        // However it ends, that is the end of the line.
        let _ = receiver.receive_from(input);
        receiver.end();
    };
    let send = move |output: &mut File| {
        let _ = sender.send_to(output);
        sender.end();
    };
    line.carry(sync, receive, send, ORPHAN_GRACE, lost)?;
    Ok(tunnel)
}

/// Where a child listens for children of its own: on the address by which it reaches its parent, which is the loopback for one on the same
/// machine, and one that other machines know otherwise.
fn beside(parent: &str) -> String {
    let towards = |parent: SocketAddr| {
        let any: IpAddr = match parent {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        // Nothing is sent: the system only says by which address it would be.
        socket.connect(parent)?;
        socket.local_addr()
    };
    let parents = parent.to_socket_addrs().into_iter().flatten();
    let own = parents.map(towards).find_map(io::Result::ok);
    let ip = own.map_or(Ipv4Addr::LOCALHOST.into(), |own| own.ip());
    SocketAddr::new(ip, 0).to_string()
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn a_child_listens_where_its_parent_reaches_it() {
        assert_eq!(beside("127.0.0.1:4433"), "127.0.0.1:0");
        assert_eq!(beside("no address at all"), "127.0.0.1:0");
    }
}
