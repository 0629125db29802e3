//! A tiny HTTP service: answers every request with one page.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "0.0.0.0:8080".to_owned());
    if address == "--version" {
        say(concat!("hello ", env!("CARGO_PKG_VERSION")));
        return Ok(());
    }
    if let (true, Some(target)) = (address == "get", std::env::args().nth(2)) {
        say(fetch(&target)?.trim_end());
        return Ok(());
    }
    let listener = TcpListener::bind(&address)?;
    say(&format!("hello listens on {address}"));
    for stream in listener.incoming() {
        // A client that goes away in the middle is no reason to end.
        if let Err(e) = stream.and_then(answer) {
            say(&format!("request failed: {e}"));
        }
    }
    Ok(())
}

/// The page of another such service: images FROM scratch have no other client.
fn fetch(target: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(target)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(String::new(), |(_, page)| page.to_owned()))
}

fn say(line: &str) {
    // Without standard output there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    lines.read_line(&mut request)?;
    let mut header = String::new();
    while lines.read_line(&mut header)? > 2 {
        header.clear();
    }
    say(request.trim_end());
    let page = "<!doctype html><title>Hello</title><h1>Hello from a container FROM scratch</h1>\n";
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}
