//! Who may send: application entity titles, each from the addresses that are its own.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

use crate::dimse::AeTitle;

/// Somebody who may send.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its application entity title.
    pub ae_title: AeTitle,
    /// Where it sends from: an address, or a network such as 10.1.0.0/16.
    pub address: Network,
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    /// As an address of version 6, into which those of version 4 are mapped.
    bits: u128,
    prefix: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is no address and no network such as 10.1.0.0/16");
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (most, unused) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix: u8 = prefix.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if prefix > most {
            return Err(wrong());
        }
        Ok(Network { bits: bits(address), prefix: prefix + unused })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        text.parse()
    }
}

impl Network {
    /// Whether an address is one of its.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = 128 - u32::from(self.prefix);
        // All of 128 bits is more than a shift can do.
        (self.bits ^ bits(address)).checked_shr(shift).unwrap_or(0) == 0
    }
}

/// Connections of version 4 come as mapped addresses where both versions are listened on.
fn bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_belong_to_their_networks() {
        assert!(contains("127.0.0.1", "127.0.0.1") && contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!contains("127.0.0.1", "127.0.0.2") && !contains("127.0.0.1", "::1"));
        assert!(contains("10.1.0.0/16", "10.1.255.3") && !contains("10.1.0.0/16", "10.2.0.1"));
        assert!(contains("0.0.0.0/0", "8.8.8.8") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && contains("::/0", "1.2.3.4"));
        for wrong in ["", "localhost", "10.1.0.0/33", "10.1.0.0/", "10.1.0.0/-1", "::/129", "10.1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
