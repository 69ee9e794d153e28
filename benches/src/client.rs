//! A keep-alive HTTP/1.1 connection that does as little work as it can, so that the load generator leaves the machine
//! to the server it measures. Speaks just what a Tastemaker server answers: a status, `content-length`, a body.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// Renders a POST with a JSON body.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Renders a GET.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: Vec::with_capacity(64 * 1024) }
    }

    /// Sends `request` and reads the whole answer, of which it returns the status; reconnects first if there is no open connection. After an error the
    /// connection is closed.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await.context("connect")?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(request).await.context("write")?;
        self.buffer.clear();
        let (head, status, length) = loop {
            if stream.read_buf(&mut self.buffer).await.context("read")? == 0 {
                bail!("the server closed the connection");
            }
            if let Some(parsed) = parse_head(&self.buffer)? {
                break parsed;
            }
        };
        while self.buffer.len() < head + length {
            if stream.read_buf(&mut self.buffer).await.context("read")? == 0 {
                bail!("the server closed the connection inside a body");
            }
        }
        self.stream = Some(stream);
        Ok(status)
    }
}

/// Length of the head, status and length of the body, once the whole head is there.
fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<(usize, u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("the head of the answer is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse())?;
    Ok(Some((end + 4, status, length)))
}

#[cfg(test)]
mod tests {
    use super::parse_head;

    #[test]
    fn a_head_is_parsed_once_it_is_whole() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap().is_none());
        let whole = b"HTTP/1.1 503 Busy\r\nContent-Length: 12\r\n\r\nbody";
        assert_eq!(parse_head(whole).unwrap(), Some((whole.len() - 4, 503, 12)));
    }
}
