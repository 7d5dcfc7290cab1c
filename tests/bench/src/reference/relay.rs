//! The reference's second process in the middle: what the first tells goes on to a third, uncopied, and the third's tally back.

use bytes::Bytes;
use quinn::{Connection, Endpoint, RecvStream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::OnceCell,
};

use super::{
    parse, quic,
    work::{Tally, Work},
};

/// Pieces that are passed on at once.
const PIECES: usize = 64;
/// The longest line by which a process says where it is, in bytes.
const LONGEST: usize = 64 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Says to whom the rest of a stream is to go: by the line in which that one has said where it is.
pub(super) async fn address(
    writer: &mut (impl AsyncWrite + Unpin),
    line: &str,
) -> Result<(), Error> {
    writer.write_all(&u32::try_from(line.len())?.to_le_bytes()).await?;
    Ok(writer.write_all(line.as_bytes()).await?)
}

async fn read_address(reader: &mut (impl AsyncRead + Unpin)) -> Result<String, Error> {
    let length = reader.read_u32_le().await? as usize;
    if length > LONGEST {
        return Err("an address of that length is none".into());
    }
    let mut line = vec![0; length];
    reader.read_exact(&mut line).await?;
    Ok(String::from_utf8(line)?)
}

/// The connection to the third process, made for the first stream that goes there.
#[derive(Debug)]
pub(super) struct Onward {
    mtu: u16,
    connection: OnceCell<(Endpoint, Connection)>,
}

impl Onward {
    pub(super) fn new(mtu: u16) -> Self {
        Self { mtu, connection: OnceCell::new() }
    }

    /// Passes on what is told by a stream, behind the address of the third process. Gives the third's tally.
    pub(super) async fn pass(&self, reader: &mut RecvStream, work: Work) -> Result<Tally, Error> {
        let line = read_address(reader).await?;
        let connect = || async {
            let (to, _, certificate) = parse(&line)?;
            quic::connect(to, certificate, self.mtu).await
        };
        let (_, connection) = self.connection.get_or_try_init(connect).await?;
        let (mut writer, mut answer) = connection.open_bi().await?;
        writer.write_all(&[work.byte()]).await?;
        let mut pieces = [const { Bytes::new() }; PIECES];
        while let Some(read) = reader.read_chunks(&mut pieces).await? {
            writer.write_all_chunks(&mut pieces[..read]).await?;
        }
        writer.finish()?;
        Ok(Tally::read(&mut answer).await?)
    }
}
