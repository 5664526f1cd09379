//! A scraper: it requests metrics and parses them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;

use tlssrv_testing::{Server, Socket, eventually};

/// Every series with its value: `tlssrv_ready`, `tlssrv_connections_open{host="a.example"}`.
#[derive(Debug)]
pub(crate) struct Scrape(pub(crate) BTreeMap<String, f64>);

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A table with metrics on a port of its own, one listener, and these hosts (label, lines).
pub(crate) fn table(top: &str, hosts: &[(&str, &str)]) -> String {
    let mut table = format!(
        "{top}\n[metrics]\nlisten = \"127.0.0.1:0\"\n[[listen]]\nname = \"tls\"\naddress = \"127.0.0.1:0\"\n"
    );
    for (name, lines) in hosts {
        let default = if *name == "a.example" {
            "default = true"
        } else {
            ""
        };
        table.push_str(&format!(
            "[[host]]\nnames = [\"{name}\"]\ncert = [\"cert.pem\"]\nallow-root = true\n{default}\n{lines}\n"
        ));
    }
    table
}

/// `cat`, as the lines of a host.
pub(crate) const CAT: &str = "command = [\"cat\"]";

/// The address at which a server serves metrics now.
pub(crate) fn address(server: &Server) -> SocketAddr {
    const MARK: &str = "notice metrics at ";
    server.wait_for_line("it gives metrics", |line| line.contains(MARK));
    let lines = server.lines();
    let mut addresses = lines.iter().filter_map(|line| line.split_once(MARK));
    addresses.next_back().unwrap().1.parse().unwrap()
}

/// Sends a request, and reads the answer to its end.
pub(crate) fn exchange(mut socket: Socket, request: &str) -> Answer {
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("{answer:?}"));
    Answer {
        status: status.parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// `GET` of a page.
pub(crate) fn get(server: &Server, page: &str) -> Answer {
    let request = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    exchange(Socket::connect(address(server)), &request)
}

/// The metrics, as they are now.
pub(crate) fn scrape(server: &Server) -> Scrape {
    let answer = get(server, "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    Scrape::parse(&answer.body)
}

/// The metrics, once a condition is true.
pub(crate) fn scrape_until(
    server: &Server,
    what: &str,
    mut is: impl FnMut(&Scrape) -> bool,
) -> Scrape {
    eventually(what, || Some(scrape(server)).filter(&mut is))
}

/// The metrics, once a series has this value.
pub(crate) fn wait_for(server: &Server, series: &str, value: f64) -> Scrape {
    scrape_until(server, &format!("{series} {value}"), |scrape| {
        scrape.find(series) == Some(value)
    })
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        Self(series.collect())
    }

    pub(crate) fn find(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// The value of a series that must be there.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.find(series)
            .unwrap_or_else(|| panic!("no {series} in {:#?}", self.0))
    }

    /// All series of one name.
    pub(crate) fn named(&self, name: &str) -> Vec<(&str, f64)> {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        let series = self.0.iter().filter(|(series, _)| of_name(series));
        series
            .map(|(series, value)| (series.as_str(), *value))
            .collect()
    }
}
