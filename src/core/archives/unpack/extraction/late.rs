//! The end of an extraction: creates hard links, then symbolic links, so that nothing is written through one.

use crate::core::archives::directory_cache::split_path;
use crate::core::archives::tree::as_path;
use crate::core::archives::unpack::directory_tracker::twice;
use crate::core::archives::unpack::extraction::Extraction;
use crate::core::archives::unpack::files;
use crate::core::archives::unpack::options::Symlinks;
use crate::core::failure::Result;
use crate::core::sys::dir::LinkUse;
use crate::core::sys::name;

impl Extraction<'_, '_> {
    /// Creates hard links in the order of the archive, so that a link to a link works. The target is found in the table
    /// of entries and opened component by component below the stage, which contains no symbolic links yet.
    pub(super) fn make_hard_links(&mut self) -> Result<()> {
        for (index, first) in std::mem::take(&mut self.hard_links).resolve(&self.tree, &self.names)? {
            self.options.cancel.check()?;
            let first = first as usize;
            let (file, hash) = (self.tree.nodes()[first], self.tree.hash(first));
            let path = self.tree.path_at(index).to_vec();
            // If it cannot be linked it becomes a copy, so it counts like one.
            self.count(file.size, &path)?;
            self.tree.set(index as usize, u32::from(file.mode()), file.size);
            self.tree.set_hash(index as usize, hash);
            let target = self.tree.path(&file).to_vec();
            self.make_hard_link(&path, &target)?;
            self.options.progress.add(1, 0);
        }
        Ok(())
    }

    fn make_hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let (target_parent, target_name) = split_path(target);
        let (parent, name) = split_path(path);
        let from = self.directories.enter(target_parent)?;
        let to = self.directories.enter(parent)?;
        let (existing, new) = (name::from_bytes(target_name), name::from_bytes(name));
        match to.link(&from, existing, new, as_path(path)) {
            Ok(()) => Ok(()),
            Err(error) if error.is_exists() => Err(twice(path)),
            // Filesystems without hard links, and files that have reached the maximum number of links.
            Err(_) => files::copy(&from, target_name, &to, name, path, &self.options.cancel),
        }
    }

    pub(super) fn make_links(&mut self) -> Result<()> {
        let names = &self.names;
        if names.has_replaced() {
            self.links.retain(|index| !names.is_replaced(index));
        }
        if self.options.symlinks == Symlinks::Contained {
            self.links.check_contained(&self.tree, &self.options.cancel)?;
        }
        for link in self.links.all(&self.tree) {
            self.options.cancel.check()?;
            let (parent, name) = split_path(link.path);
            let directory = self.directories.enter(parent)?;
            let name = name::from_bytes(name);
            let home = self.home.map(|home| home.join(as_path(parent)));
            let link_use = LinkUse {
                home: home.as_deref(),
                to_directory: false,
            };
            match directory.symlink(name::from_bytes(link.target), name, link_use, as_path(link.path)) {
                Err(error) if error.is_exists() => return Err(twice(link.path)),
                result => result?,
            }
            directory.set_modified(name, i128::from(link.modified_ns), as_path(link.path))?;
        }
        Ok(())
    }
}
