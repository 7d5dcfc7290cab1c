//! What Actogen is compared with: the same work on bare quinn between two processes, and a check of that against bare TCP.
//!
//! | room | concept |
//! |---|---|
//! | `quic` | quinn, set up as the transport sets it up |
//! | `work`, `frames` | what goes over the streams |
//! | `drive` | the process that sends and measures |
//! | `serve` | the process that receives: this binary with a hidden argument |
//! | `file` | files |
//! | `signed` | messages and acknowledgements with signatures |
//! | `relay` | the same in the middle, between the first and a third |

mod drive;
mod file;
mod frames;
mod quic;
mod relay;
mod serve;
mod signed;
mod work;

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

pub(crate) use serve::{ARGUMENT, run as serve};

use crate::{
    failure::Failure,
    note::SMALL,
    report::Report,
    settings::{Placement, Settings},
    statistics::median,
    suite::Plan,
    workload::{Outcome, Span, Workload, latencies},
};

/// Bytes written at once, of which the fastest is taken.
const WRITES: [usize; 3] = [16 * 1024, 64 * 1024, 128 * 1024];
/// Bytes written at once to bare TCP.
const TCP_WRITE: usize = 64 * 1024;
/// What bare quinn must carry of what bare TCP does, both framed and one way. About 0.45 is usual.
const LEAST_OF_TCP: f64 = 0.35;
/// How many passes the check has at most: they only choose and guard.
const CHECK_PASSES: usize = 3;
/// How long the second process may take to start, and a run to end after its time.
const PATIENCE: Duration = Duration::from_secs(30);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The runtime of either process of the reference.
fn runtime(placement: Placement) -> io::Result<Runtime> {
    match placement {
        Placement::Inline => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        Placement::Threads => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
        }
    }
}

/// What the thread that drives the reference is asked for.
enum Job {
    Quic { workload: Workload, write: usize },
    Tcp { bytes: usize, write: usize },
    Relayed { bytes: usize, write: usize },
    BesideBulk { bytes: usize },
    Files { is_relayed: bool, path: PathBuf, to: PathBuf },
    Publish { in_flight: usize, bytes: usize },
    Launch,
    PathMtu,
}

struct Order {
    job: Job,
    lasts: Duration,
    answer: oneshot::Sender<Result<Outcome, Error>>,
}

/// Both processes of the reference, at rest until asked.
///
/// This process's part has a thread and a runtime of its own, as a program on bare quinn would.
#[derive(Debug)]
pub(crate) struct Reference {
    orders: mpsc::Sender<Order>,
    thread: std::thread::JoinHandle<()>,
    /// Bytes written at once where messages are framed.
    write: usize,
}

/// How the reference compares with bare TCP, framed and one way.
#[derive(Clone, Copy, Debug)]
struct Check {
    /// The rate of bare quinn over that of bare TCP.
    of_tcp: f64,
    /// Bytes written at once with which quinn was fastest.
    write: usize,
    /// The datagrams that quinn has come to, in bytes.
    mtu: u16,
}

impl Check {
    /// # Errors
    /// [`Failure::SlowReference`].
    fn enforce(self) -> Result<(), Failure> {
        // An unoptimized build says nothing about either.
        if self.of_tcp < LEAST_OF_TCP && !cfg!(debug_assertions) {
            return Err(Failure::SlowReference { ratio: self.of_tcp, least: LEAST_OF_TCP });
        }
        Ok(())
    }
}

impl Reference {
    /// Starts the second process and connects to it.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        Self::start_chain(settings, false).await
    }

    /// As [`Self::start`], with a third process for what is relayed by the second.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    pub(crate) async fn start_relayed(settings: Settings) -> Result<Self, Failure> {
        Self::start_chain(settings, true).await
    }

    async fn start_chain(settings: Settings, is_relayed: bool) -> Result<Self, Failure> {
        let (orders, received) = mpsc::channel(1);
        let (ready, started) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("reference".into())
            .spawn(move || thread(settings, is_relayed, received, ready))
            .map_err(|error| Failure::System("a thread for the reference", error))?;
        let failed = |why: String| Failure::Reference { over: "quinn", why };
        match tokio::time::timeout(PATIENCE, started).await {
            Ok(Ok(Ok(()))) => Ok(Self { orders, thread, write: WRITES[1] }),
            Ok(Ok(Err(error))) => Err(failed(error.to_string())),
            Ok(Err(_)) => Err(failed("its thread ended".into())),
            Err(_) => Err(failed(format!("it did not start within {PATIENCE:?}"))),
        }
    }

    /// Makes ready for a run: [`Self::check`], said on standard error and enforced.
    ///
    /// # Errors
    /// [`Failure::Reference`] and [`Failure::SlowReference`].
    pub(crate) async fn check_for(
        &mut self,
        plan: &Plan,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let check = self.check(plan.rounds.min(CHECK_PASSES), plan.lasts / 4).await?;
        let Check { of_tcp, write, mtu } = check;
        report.progress(&format!(
            "bare quinn carries {of_tcp:.2} of what bare TCP does; {} KiB a write, datagrams of {mtu} bytes",
            write / 1024
        ));
        report.reference_is_quic(of_tcp);
        match check.enforce() {
            Err(failure) if plan.accepts_slow_reference => {
                report.progress(&failure.to_string());
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Finds the fastest size of writes, uses it from here on, and compares with bare TCP.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    async fn check(&mut self, passes: usize, lasts: Duration) -> Result<Check, Failure> {
        let tell = |write| Job::Quic { workload: Workload::Tell(SMALL), write };
        let mut quinn = [const { Vec::new() }; WRITES.len()];
        let mut tcp = Vec::new();
        // The first pass warms up.
        for pass in 0..=passes {
            for (write, rates) in WRITES.into_iter().zip(&mut quinn) {
                let rate = self.figure(tell(write), lasts).await?;
                rates.extend((pass > 0).then_some(rate));
            }
            let job = Job::Tcp { bytes: SMALL, write: TCP_WRITE };
            let rate = self.figure(job, lasts).await?;
            tcp.extend((pass > 0).then_some(rate));
        }
        let middles = quinn.iter().map(|rates| median(rates).unwrap_or_default());
        let (fastest, (write, _)) = quinn
            .iter()
            .zip(WRITES.into_iter().zip(middles))
            .max_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b))
            .expect("there are sizes to choose from");
        let ratios: Vec<f64> = fastest.iter().zip(&tcp).map(|(quinn, tcp)| quinn / tcp).collect();
        self.write = write;
        let mtu = self.figure(Job::PathMtu, Duration::ZERO).await? as u16;
        Ok(Check { of_tcp: median(&ratios).unwrap_or_default(), write, mtu })
    }

    /// Does a work for a while.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    pub(crate) async fn run(
        &self,
        workload: Workload,
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        self.order(Job::Quic { workload, write: self.write }, lasts).await
    }

    /// Tells notes of so many bytes by way of the second process to the third for a while.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    pub(crate) async fn relay(&self, bytes: usize, lasts: Duration) -> Result<Outcome, Failure> {
        self.order(Job::Relayed { bytes, write: self.write }, lasts).await
    }

    /// Asks for a while, beside messages of so many bytes: the times of the requests, and behind them the MB a second of the messages.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    pub(crate) async fn ask_beside_bulk(
        &self,
        bytes: usize,
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        self.order(Job::BesideBulk { bytes }, lasts).await
    }

    /// Sends a file to the second process, or by way of that to the third, again and again.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    pub(crate) async fn files(
        &self,
        is_relayed: bool,
        path: PathBuf,
        to: PathBuf,
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        self.order(Job::Files { is_relayed, path, to }, lasts).await
    }

    /// Sends signed notes of so many bytes, so many of them unacknowledged at any time, for a while: signed acknowledgements a second.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    pub(crate) async fn publish(
        &self,
        in_flight: usize,
        bytes: usize,
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        self.order(Job::Publish { in_flight, bytes }, lasts).await
    }

    /// Starts a process, connects to it, asks once and ends it, again and again: how long each took until it had answered.
    ///
    /// # Errors
    /// [`Failure::Reference`].
    pub(crate) async fn launch(&self, lasts: Duration) -> Result<Outcome, Failure> {
        self.order(Job::Launch, lasts).await
    }

    /// Ends the other processes.
    pub(crate) fn end(self) {
        let Self { orders, thread, .. } = self;
        drop(orders);
        // It reports what goes wrong by its answers, and there are no more to give.
        let _ = thread.join();
    }

    async fn figure(&self, job: Job, lasts: Duration) -> Result<f64, Failure> {
        let outcome = self.order(job, lasts).await?;
        Ok(outcome.figures.first().copied().unwrap_or_default())
    }

    async fn order(&self, job: Job, lasts: Duration) -> Result<Outcome, Failure> {
        let over = if matches!(job, Job::Tcp { .. }) { "TCP" } else { "quinn" };
        let failed = |why: String| Failure::Reference { over, why };
        let (answer, answered) = oneshot::channel();
        let order = Order { job, lasts, answer };
        self.orders.send(order).await.map_err(|_| failed("its thread ended".into()))?;
        match tokio::time::timeout(lasts + PATIENCE, answered).await {
            Ok(Ok(result)) => result.map_err(|error| failed(error.to_string())),
            Ok(Err(_)) => Err(failed("its thread ended".into())),
            Err(_) => Err(failed(format!("a run did not end {PATIENCE:?} after its time"))),
        }
    }
}

/// The reference's first process: takes orders until there is nobody to give them.
fn thread(
    settings: Settings,
    is_relayed: bool,
    mut orders: mpsc::Receiver<Order>,
    ready: oneshot::Sender<Result<(), Error>>,
) {
    let begin = || {
        let third = is_relayed.then(|| Other::start(settings)).transpose()?;
        Ok::<_, Error>((Other::start(settings)?, third, runtime(settings.placement)?))
    };
    let (second, third, runtime) = match begin() {
        Ok(begun) => begun,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let certificate = second.certificate.clone();
        let (endpoint, connection) =
            match quic::connect(second.quic, certificate, settings.mtu).await {
                Ok(connected) => connected,
                Err(error) => return drop(ready.send(Err(error))),
            };
        let _ = ready.send(Ok(()));
        while let Some(Order { job, lasts, answer }) = orders.recv().await {
            let result = match job {
                Job::Quic { workload, write } => {
                    drive::over_quic(&connection, workload, write, lasts).await
                }
                Job::Tcp { bytes, write } => {
                    drive::over_tcp(second.tcp, bytes, write, lasts).await.map(Outcome::from)
                }
                Job::Relayed { bytes, write } => match &third {
                    Some(Other { line, .. }) => {
                        let rate = drive::relayed(&connection, line, bytes, write, lasts).await;
                        rate.map(Outcome::from)
                    }
                    None => Err("there is no third process".into()),
                },
                Job::BesideBulk { bytes } => drive::beside_bulk(&connection, bytes, lasts).await,
                Job::Files { is_relayed, path, to } => {
                    let onward = third.as_ref().filter(|_| is_relayed);
                    let onward = onward.map(|third| third.line.as_str());
                    files(&connection, onward, &path, &to, lasts).await
                }
                Job::Publish { in_flight, bytes } => {
                    drive::publish(&connection, in_flight, bytes, lasts).await.map(Outcome::from)
                }
                Job::Launch => launch(settings, lasts).await,
                Job::PathMtu => Ok(f64::from(connection.stats().path.current_mtu).into()),
            };
            // Whoever gave the order may have given up waiting.
            let _ = answer.send(result);
        }
        drop((connection, endpoint));
    });
}

/// Sends a file again and again. MB a second.
async fn files(
    connection: &quinn::Connection,
    onward: Option<&str>,
    path: &Path,
    to: &Path,
    lasts: Duration,
) -> Result<Outcome, Error> {
    let (span, mut bytes) = (Span::of(lasts), 0);
    while bytes == 0 || !span.is_over() {
        bytes += file::send(connection, onward, path, to).await?;
    }
    Ok((span.rate(bytes) / 1e6).into())
}

/// The times of bare launches, in nanoseconds.
async fn launch(settings: Settings, lasts: Duration) -> Result<Outcome, Error> {
    let (span, mut times) = (Span::of(lasts), Vec::new());
    while !span.is_over() {
        let began = Instant::now();
        let process = Other::start(settings)?;
        let certificate = process.certificate.clone();
        let (endpoint, connection) = quic::connect(process.quic, certificate, settings.mtu).await?;
        drive::echo(&connection).await?;
        times.push(began.elapsed().as_nanos() as u64);
        drop((connection, endpoint));
    }
    Ok(latencies(times))
}

/// Another process of the reference, ended with this value.
struct Other {
    process: Child,
    /// What it has said of where it is.
    line: String,
    quic: SocketAddr,
    tcp: SocketAddr,
    certificate: Vec<u8>,
}

impl Other {
    fn start(settings: Settings) -> Result<Self, Error> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([ARGUMENT, settings.placement.name(), &settings.mtu.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("it has no output")?;
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        let told = read.map_err(Error::from).and_then(|_| parse(&line));
        match told {
            Ok((quic, tcp, certificate)) => Ok(Self { process, line, quic, tcp, certificate }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn parse(line: &str) -> Result<(SocketAddr, SocketAddr, Vec<u8>), Error> {
    let mut words = line.split_whitespace();
    let mut word = || words.next().ok_or("the second process did not say where it listens");
    let (quic, tcp, digits) = (word()?.parse()?, word()?.parse()?, word()?);
    let certificate = digits
        .as_bytes()
        .chunks(2)
        .map(|two| Ok(u8::from_str_radix(std::str::from_utf8(two)?, 16)?))
        .collect::<Result<_, Error>>()?;
    Ok((quic, tcp, certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_process_says_where_it_is() {
        let (quic, tcp, certificate) = parse("127.0.0.1:1 127.0.0.1:2 00ff7f\n").unwrap();
        assert_eq!((quic.port(), tcp.port()), (1, 2));
        assert_eq!(certificate, [0, 255, 127]);
        for bad in ["", "127.0.0.1:1 127.0.0.1:2", "here 127.0.0.1:2 00", "[::1]:1 [::1]:2 zz"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_fastest_reference_is_not_too_slow() {
        let check = |of_tcp| Check { of_tcp, write: 1, mtu: 1452 };
        assert!(check(0.45).enforce().is_ok());
        assert_eq!(check(0.3).enforce().is_ok(), cfg!(debug_assertions));
    }
}
