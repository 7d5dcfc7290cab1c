//! A file from the first process to another: read and hashed here, hashed and written there, each beside the network.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use bytes::{Bytes, BytesMut};
use quinn::{Connection, RecvStream};
use tokio::{
    io::AsyncReadExt,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    relay,
    work::{Tally, Work},
};

/// Bytes that are read, hashed and written at once.
const PIECE: usize = 1024 * 1024;

/// The longest path, in bytes.
const LONGEST: usize = 4096;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A file with its hash so far. Reading and writing happen on threads that may block.
struct Hashed {
    file: File,
    hasher: blake3::Hasher,
}

impl Hashed {
    fn of(file: File) -> Self {
        Self { file, hasher: blake3::Hasher::new() }
    }

    fn read(&mut self) -> std::io::Result<Bytes> {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut self.file).take(PIECE as u64).read_to_end(&mut piece)?;
        self.hasher.update(&piece);
        Ok(piece.into())
    }

    fn write(&mut self, piece: &Bytes) -> std::io::Result<()> {
        self.hasher.update(piece);
        self.file.write_all(piece)
    }

    /// The first bytes of the hash, which is what both ends compare.
    fn hash(&self) -> u64 {
        let hash = self.hasher.finalize();
        let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        u64::from_le_bytes(*first)
    }
}

/// Sends a file, by way of the second process to a third if that has said by a line where it is. Gives its size.
pub(super) async fn send(
    connection: &Connection,
    onward: Option<&str>,
    path: &Path,
    to: &Path,
) -> Result<u64, Error> {
    let (mut writer, mut reader) = connection.open_bi().await?;
    match onward {
        None => writer.write_all(&[Work::File.byte()]).await?,
        Some(line) => {
            writer.write_all(&[Work::RelayFile.byte()]).await?;
            relay::address(&mut writer, line).await?;
        }
    }
    let to = to.to_str().ok_or("the path is no text")?;
    writer.write_all(&u32::try_from(to.len())?.to_le_bytes()).await?;
    writer.write_all(to.as_bytes()).await?;
    let mut source = Hashed::of(File::open(path)?);
    let mut sent = 0;
    let read = |mut source: Hashed| spawn_blocking(move || (source.read(), source));
    let mut reading = read(source);
    loop {
        let (piece, back) = reading.await?;
        source = back;
        let piece = piece?;
        if piece.is_empty() {
            break;
        }
        // The next piece is read while this one is written.
        reading = read(source);
        sent += piece.len() as u64;
        writer.write_chunk(piece).await?;
    }
    writer.finish()?;
    if Tally::read(&mut reader).await?.messages != source.hash() {
        return Err("what came is not what was sent".into());
    }
    Ok(sent)
}

/// Receives a file, and tells the beginning of its hash.
pub(super) async fn receive(reader: &mut RecvStream) -> Result<Tally, Error> {
    let length = reader.read_u32_le().await? as usize;
    if length > LONGEST {
        return Err("a path of that length is none".into());
    }
    let mut path = vec![0; length];
    reader.read_exact(&mut path).await?;
    let mut target = Hashed::of(File::create(String::from_utf8(path)?)?);
    let mut writing: Option<JoinHandle<(std::io::Result<()>, Hashed)>> = None;
    let mut piece = BytesMut::with_capacity(PIECE);
    loop {
        let chunk = reader.read_chunk(PIECE - piece.len(), true).await?;
        let is_end = chunk.is_none();
        if let Some(chunk) = chunk {
            piece.extend_from_slice(&chunk.bytes);
        }
        if piece.len() == PIECE || (is_end && !piece.is_empty()) {
            if let Some(before) = writing.take() {
                let (written, back) = before.await?;
                written?;
                target = back;
            }
            let full = std::mem::replace(&mut piece, BytesMut::with_capacity(PIECE)).freeze();
            let mut file = target;
            let write = spawn_blocking(move || (file.write(&full), file));
            if is_end {
                let (written, back) = write.await?;
                written?;
                target = back;
            } else {
                writing = Some(write);
                target = Hashed::of(File::open("/dev/null")?);
            }
        }
        if is_end {
            if let Some(before) = writing.take() {
                let (written, back) = before.await?;
                written?;
                target = back;
            }
            return Ok(Tally { messages: target.hash(), allocations: 0 });
        }
    }
}
