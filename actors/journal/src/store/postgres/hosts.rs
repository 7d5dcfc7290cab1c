//! The hosts that a journal's database may be at: one after the other is tried, each for its share of the time.

use std::{future::Future, time::Duration};

use tokio::time::timeout;
use tokio_postgres::Config;

use super::fault::Fault;

/// Hosts, and which one is asked next: a silent one must not keep the others from being tried.
pub(super) struct Hosts {
    each: Vec<Config>,
    next: usize,
}

impl Hosts {
    /// The hosts of a configuration.
    pub(super) fn of(config: &Config) -> Self {
        let (hosts, addresses, ports) =
            (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
        let count = hosts.len().max(addresses.len());
        let fits = |length: usize| length <= 1 || length == count;
        if count < 2 || !(fits(hosts.len()) && fits(addresses.len()) && fits(ports.len())) {
            // Where it is wrong, connecting says so.
            return Self { each: vec![config.clone()], next: 0 };
        }
        let alone = |index: usize| {
            let mut alone = without_hosts(config);
            match hosts.get(index) {
                Some(tokio_postgres::config::Host::Tcp(name)) => drop(alone.host(name)),
                #[cfg(unix)]
                Some(tokio_postgres::config::Host::Unix(path)) => drop(alone.host_path(path)),
                None => {}
            }
            if let Some(address) = addresses.get(index) {
                alone.hostaddr(*address);
            }
            if let Some(port) = ports.get(index).or(ports.first()) {
                alone.port(*port);
            }
            alone
        };
        Self { each: (0..count).map(alone).collect(), next: 0 }
    }

    /// Tries each once, from the one that was last of use on, or behind the one at which it was given up.
    pub(super) async fn connect<T, F: Future<Output = Result<T, Fault>>>(
        &mut self,
        limit: Duration,
        mut connect: impl FnMut(Config) -> F,
    ) -> Result<T, Fault> {
        let count = self.each.len();
        let share = limit / u32::try_from(count).unwrap_or(u32::MAX);
        let mut worst = None;
        for _ in 0..count {
            let mut config = self.each[self.next].clone();
            config.connect_timeout(share);
            let late = |_| Fault::Lost(format!("no connection within {share:?}"));
            match timeout(share, connect(config)).await.map_err(late).flatten() {
                Ok(connected) => return Ok(connected),
                // One that refuses for good is no reason to give up another one that may be back.
                Err(Fault::Final(error)) => worst = worst.or(Some(Fault::Final(error))),
                Err(fault) => worst = Some(fault),
            }
            self.next = (self.next + 1) % count;
        }
        Err(worst.unwrap_or_else(|| Fault::Lost("there are no hosts".to_owned())))
    }
}

/// All that a configuration says, but for where.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    copy.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    config.get_user().map(|user| copy.user(user));
    config.get_password().map(|password| copy.password(password));
    config.get_dbname().map(|name| copy.dbname(name));
    config.get_options().map(|options| copy.options(options));
    config.get_application_name().map(|name| copy.application_name(name));
    config.get_tcp_user_timeout().map(|time| copy.tcp_user_timeout(*time));
    config.get_keepalives_interval().map(|time| copy.keepalives_interval(time));
    config.get_keepalives_retries().map(|retries| copy.keepalives_retries(retries));
    copy
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    const URL: &str = "user=me password=secret dbname=db options='-c a=b' application_name=app sslmode=disable connect_timeout=3 \
        tcp_user_timeout=4 keepalives=0 keepalives_idle=5 keepalives_interval=6 keepalives_retries=7 target_session_attrs=read-write \
        channel_binding=require load_balance_hosts=random";

    #[test]
    fn each_host_has_all_the_rest() {
        let all = format!("{URL} host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2");
        let hosts = Hosts::of(&Config::from_str(&all).unwrap());
        let one = |host: &str, port: u16| {
            let url = format!("{URL} host={host} port={port}").replace("connect_timeout=3 ", "");
            Config::from_str(&url).unwrap()
        };
        let mut expected = [one("a", 1), one("b", 2)];
        expected[0].hostaddr([10, 0, 0, 1].into());
        expected[1].hostaddr([10, 0, 0, 2].into());
        assert_eq!(hosts.each, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_host_keeps_no_other_from_being_tried() {
        let mut hosts = Hosts::of(&Config::from_str("host=a,b,c").unwrap());
        let limit = Duration::from_secs(3);
        let connect = async |hosts: &mut Hosts, good: &'static str| {
            let mut tried = Vec::new();
            let outcome = hosts.connect(limit, |config| {
                let name = format!("{:?}", config.get_hosts()[0]);
                let is_good = name.contains(good);
                tried.push(name);
                async move {
                    match is_good {
                        true => Ok(()),
                        false => std::future::pending().await,
                    }
                }
            });
            let outcome = outcome.await;
            (outcome.is_ok(), tried.len())
        };
        assert_eq!(connect(&mut hosts, "\"b\"").await, (true, 2));
        assert_eq!(connect(&mut hosts, "\"b\"").await, (true, 1), "it is known");
        assert_eq!(connect(&mut hosts, "\"a\"").await, (true, 3));
        assert_eq!(connect(&mut hosts, "none").await, (false, 3));
    }
}
