//! What stands in for TLS in a program that was built without it: nothing can be made of these types.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

use super::{ClientFiles, ServerFiles, Standing, Timed};

const WHY: &str = "this program was built without TLS";

/// Whoever is connected to.
#[derive(Clone, Debug)]
pub struct Server(Infallible);

/// Whoever connects.
#[derive(Clone, Debug)]
pub struct Client(Infallible);

/// A connection.
#[derive(Debug)]
pub struct Session(Infallible);

impl Server {
    pub(super) fn load(_: &ServerFiles) -> Result<Server, String> {
        Err(WHY.to_owned())
    }

    pub(super) fn accept(&self, _: TcpStream, _: Duration) -> io::Result<Session> {
        match self.0 {}
    }
}

impl Client {
    pub(super) fn load(_: &ClientFiles) -> Result<Client, String> {
        Err(WHY.to_owned())
    }

    pub(super) fn connect(&self, _: TcpStream, _: &str, _: Duration) -> io::Result<Session> {
        match self.0 {}
    }

    pub(super) fn configure(&self, _: ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> {
        match self.0 {}
    }
}

pub fn standing(_: &ServerFiles, _: Duration) -> Result<Standing, String> {
    Err(WHY.to_owned())
}

impl Read for Session {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for Session {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

impl Timed for Session {
    fn set_patience(&mut self, _: Duration) -> io::Result<()> {
        match self.0 {}
    }
}
