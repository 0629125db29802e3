//! The table as it stands in the kernel, kept equal to the content in memory.

use super::content::{BridgeRules, Content, HostPort, Target, bridge_elements, open_element, port_element};
use super::ruleset;
use super::transaction::{Element, Transaction, chain_exists};
use crate::netlink::socket::Socket;
use rustix::io::Errno;

/// The engine's table.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    socket: Socket,
    port: u32,
    content: Content,
    /// Whether the kernel is known to hold our rules.
    present: bool,
}

impl Table {
    /// A table of this name. The kernel is not touched before the first change.
    pub(crate) fn new(name: &str) -> Result<Self, Errno> {
        let socket = Socket::netfilter()?;
        let port = socket.port()?;
        Ok(Self { name: name.to_owned(), socket, port, content: Content::default(), present: false })
    }

    /// The number by which notifications name the changes made here.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Makes the table know a bridge, or know it otherwise.
    pub(crate) fn set_bridge(&mut self, name: &str, rules: &BridgeRules) -> Result<(), Errno> {
        let before = self.content.bridges.insert(name.to_owned(), rules.clone());
        let gone = before.as_ref().map(|rules| bridge_elements(name, rules)).unwrap_or_default();
        let new = bridge_elements(name, rules);
        self.apply(&difference(&gone, &new), &difference(&new, &gone)).inspect_err(|_| {
            match before {
                Some(rules) => self.content.bridges.insert(name.to_owned(), rules),
                None => self.content.bridges.remove(name),
            };
        })
    }

    /// Makes the table forget a bridge; nothing happens when it knows none of this name.
    pub(crate) fn remove_bridge(&mut self, name: &str) -> Result<(), Errno> {
        let Some(rules) = self.content.bridges.remove(name) else { return Ok(()) };
        self.apply(&bridge_elements(name, &rules), &[]).inspect_err(|_| {
            self.content.bridges.insert(name.to_owned(), rules);
        })
    }

    /// Leads host ports to containers.
    pub(crate) fn publish(&mut self, ports: &[(HostPort, Target)]) -> Result<(), Errno> {
        self.content.ports.extend(ports.iter().copied());
        let new: Vec<Element> = ports.iter().map(|(host, target)| port_element(host, *target)).collect();
        self.apply(&[], &new).inspect_err(|_| {
            for (host, _) in ports {
                self.content.ports.remove(host);
            }
        })
    }

    /// Ends what `publish` began; ports that lead nowhere are left alone.
    pub(crate) fn unpublish(&mut self, ports: &[HostPort]) -> Result<(), Errno> {
        let gone: Vec<_> =
            ports.iter().filter_map(|host| Some((*host, self.content.ports.remove(host)?))).collect();
        let elements: Vec<Element> = gone.iter().map(|(host, target)| port_element(host, *target)).collect();
        self.apply(&elements, &[]).inspect_err(|_| self.content.ports.extend(gone))
    }

    /// Lets others in to ports of containers.
    pub(crate) fn open(&mut self, ports: &[HostPort]) -> Result<(), Errno> {
        let new: Vec<HostPort> =
            ports.iter().filter(|port| self.content.open.insert(**port)).copied().collect();
        let elements: Vec<Element> = new.iter().map(open_element).collect();
        self.apply(&[], &elements).inspect_err(|_| self.content.open.retain(|port| !new.contains(port)))
    }

    /// Ends what `open` began; ports that are shut are left alone.
    pub(crate) fn shut(&mut self, ports: &[HostPort]) -> Result<(), Errno> {
        let gone: Vec<HostPort> =
            ports.iter().filter(|port| self.content.open.remove(port)).copied().collect();
        let elements: Vec<Element> = gone.iter().map(open_element).collect();
        self.apply(&elements, &[]).inspect_err(|_| self.content.open.extend(gone))
    }

    /// Sends a difference; the content in memory already has it. Where the kernel disagrees about what was
    /// there, the whole table is replaced, all at once.
    fn apply(&mut self, gone: &[Element], new: &[Element]) -> Result<(), Errno> {
        if gone.is_empty() && new.is_empty() {
            return Ok(());
        }
        if !self.present && !chain_exists(&mut self.socket, &self.name, &ruleset::marker())? {
            return self.restore();
        }
        self.present = true;
        let mut transaction = Transaction::new(&self.name);
        transaction.delete_elements(gone).add_elements(new);
        match transaction.commit(&mut self.socket) {
            // Elements or the table are gone, or stand otherwise than remembered.
            Err(Errno::NOENT | Errno::EXIST | Errno::BUSY) => self.restore(),
            result => result,
        }
    }

    /// Puts the whole table as remembered into the kernel, in place of whatever has its name.
    pub(crate) fn restore(&mut self) -> Result<(), Errno> {
        let mut transaction = Transaction::new(&self.name);
        transaction.add_table().delete_table().add_table();
        ruleset::add_all(&mut transaction);
        let elements: Vec<Element> = self.content.elements().into_iter().collect();
        transaction.add_elements(&elements);
        transaction.commit(&mut self.socket)?;
        self.present = true;
        Ok(())
    }

    /// Restores the table where it should be; says whether it should.
    pub(crate) fn restore_if_used(&mut self) -> Result<bool, Errno> {
        if self.content == Content::default() {
            return Ok(false);
        }
        self.restore().map(|()| true)
    }

    /// Removes the table; nothing happens when there is none.
    pub(crate) fn remove(&mut self) -> Result<(), Errno> {
        self.content = Content::default();
        self.present = false;
        let mut transaction = Transaction::new(&self.name);
        // Deleting what was just made never fails for want of it.
        transaction.add_table().delete_table();
        transaction.commit(&mut self.socket)
    }
}

/// Those of `all` that are not in `without`.
fn difference(all: &[Element], without: &[Element]) -> Vec<Element> {
    all.iter().filter(|element| !without.contains(element)).cloned().collect()
}

/// Whether a table of this name with our rules is in the kernel.
#[cfg(test)]
pub(crate) fn exists(name: &str) -> Result<bool, Errno> {
    chain_exists(&mut Socket::netfilter()?, name, &ruleset::marker())
}
