//! Views: copies of the current generation for links such as `dist`.
//!
//! Tools empty, extend and rewrite their output directory, and root can write to read-only files. A link therefore
//! leads to a copy, never to a generation that readers have pinned. The copy shares blocks if the filesystem supports
//! it. Hard links are not used, because a write in place would change the generation too.
//!
//! `view` names the copy that links lead to. Each publish and rollback creates the next copy before the pointer moves,
//! and points `view` to it afterwards. A copy is kept as long as `keep` and `graceMs` keep its generation, and at least
//! until the second publish after it: a process may have resolved the link right before it changed.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use crate::core::error::{Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::{clock, durability, fault};

use super::copy::{self, CopyMethod};
use super::layout::{Layout, name_of, number_of};
use super::manifest::{Depth, Manifest, Problem};
use super::replaced;
use super::store::Store;
use super::trash::move_to_trash;
use super::tree::walk_any;

/// Name of a view that is being created under the writer lock.
const NEW: &str = "new";

/// One view: its sequence number, and the generation that it is a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    sequence: u64,
    number: u64,
}

impl View {
    fn parse(name: &OsStr) -> Option<Self> {
        let (sequence, number) = name.to_str()?.split_once('-')?;
        Some(Self {
            sequence: number_of(sequence.as_ref())?,
            number: number_of(number.as_ref())?,
        })
    }

    fn name(self) -> String {
        format!("{}-{}", name_of(self.sequence), name_of(self.number))
    }

    fn directory(self, layout: &Layout) -> PathBuf {
        layout.views().join(self.name())
    }

    fn tree(self, layout: &Layout) -> PathBuf {
        self.directory(layout).join("tree")
    }
}

/// Whether this or another process has a link that needs views.
fn is_needed_by_link(store: &Store) -> Result<bool> {
    Ok(store.link.is_some() || fs::stat(&store.layout.view()).optional()?.is_some())
}

/// View that links lead to.
fn linked_view(layout: &Layout) -> Result<Option<View>> {
    let target = fs::read_link(&layout.view()).optional()?;
    Ok(target.as_deref().and_then(parse))
}

fn parse(target: &Path) -> Option<View> {
    let mut parts = target.components();
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        (Component::Normal(views), Component::Normal(name), Component::Normal(tree), None)
            if views == OsStr::new("views") && tree == OsStr::new("tree") =>
        {
            View::parse(name)
        }
        _ => None,
    }
}

/// Copies a sealed stage with this digest for the publish that follows. Runs without the writer lock.
pub(super) fn prepare(store: &Store, stage: &Path, digest: &str, cancel: &Cancel) -> Result<()> {
    let is_current = |number| store.head(number).is_ok_and(|head| head.digest == digest);
    if !is_needed_by_link(store)? || store.current()?.is_some_and(is_current) {
        return Ok(());
    }
    fill(&stage.join("view"), &stage.join("tree"), cancel)
}

fn fill(view: &Path, from: &Path, cancel: &Cancel) -> Result<()> {
    fs::remove_tree(view)?;
    fs::create_directory(view, 0o755)?;
    fs::create_directory(&view.join("tree"), 0o755)?;
    copy::copy_tree(
        from,
        &view.join("tree"),
        CopyMethod::Clone,
        &mut Vec::new(),
        cancel,
    )
}

/// Moves the prepared view of a stage that becomes generation `number` to its final path.
pub(super) fn place_prepared(store: &Store, stage: &Path, number: u64) -> Result<Option<View>> {
    if !is_needed_by_link(store)? {
        return Ok(None);
    }
    let prepared = stage.join("view");
    if fs::stat(&prepared).optional()?.is_some() {
        return place(store, &prepared, number).map(Some);
    }
    // When the stage was sealed, it equalled the current generation, or there was no link yet.
    make(store, &stage.join("tree"), number).map(Some)
}

/// Creates a view of a generation, if there is a link.
pub(super) fn place_copy(store: &Store, number: u64) -> Result<Option<View>> {
    if !is_needed_by_link(store)? {
        return Ok(None);
    }
    make(store, &store.layout.tree(number), number).map(Some)
}

fn make(store: &Store, from: &Path, number: u64) -> Result<View> {
    let new = store.layout.views().join(NEW);
    replaced::make_folder(store, &store.layout.views())?;
    fill(&new, from, &Cancel::new())?;
    if store.flushes() {
        durability::sync_tree(&new)?;
    }
    place(store, &new, number)
}

fn place(store: &Store, from: &Path, number: u64) -> Result<View> {
    let layout = &store.layout;
    replaced::make_folder(store, &layout.views())?;
    let linked = linked_view(layout)?;
    for view in all_views(layout)? {
        // Left by a publish that was killed or failed. Links never led to it.
        if linked.is_none_or(|linked| view.sequence > linked.sequence) {
            move_view_to_trash(layout, view)?;
        }
    }
    let sequence = linked.map_or(0, |linked| linked.sequence) + 1;
    let view = View { sequence, number };
    fs::rename(from, &view.directory(layout))?;
    if store.flushes() {
        durability::sync(&layout.views())?;
    }
    Ok(view)
}

/// Points links to this view atomically.
pub(super) fn link_to(layout: &Layout, view: View) -> Result<()> {
    let temporary = layout.file("view.tmp");
    fs::remove_file(&temporary).optional()?;
    let target = if fault::is_seeded("link-to-generation") {
        format!("gens/{}/tree", name_of(view.number))
    } else {
        format!("views/{}/tree", view.name())
    };
    fs::link_directory(Path::new(&target), &temporary)?;
    fs::rename(&temporary, &layout.view())
}

/// During open: makes the view match the pointer. They differ after a publish that was killed in between and after a
/// writer that does not support views. Power loss may also have torn the copy.
pub(super) fn repair(store: &Store, after_reboot: bool, cancel: &Cancel) -> Result<()> {
    let layout = &store.layout;
    for name in ["view.tmp", "made.json.tmp"] {
        fs::remove_file(&layout.file(name)).optional()?;
    }
    if !is_needed_by_link(store)? {
        return Ok(());
    }
    let Some(number) = store.current()? else {
        return fs::remove_file(&layout.view()).optional().map(drop);
    };
    if let Some(view) = linked_view(layout)?
        && view.number == number
        && exists(layout, view)?
        && !(after_reboot && is_torn(store, view, cancel)?)
    {
        return Ok(());
    }
    let view = make(store, &layout.tree(number), number)?;
    link_to(layout, view)
}

/// During a publish that changes nothing: restores the view if a tool has changed it.
pub(super) fn refresh(store: &Store, number: u64) -> Result<()> {
    if !is_needed_by_link(store)? {
        return Ok(());
    }
    if let Some(view) = linked_view(&store.layout)?
        && view.number == number
        && exists(&store.layout, view)?
        && !is_changed(&store.layout, view)?
    {
        return Ok(());
    }
    let view = make(store, &store.layout.tree(number), number)?;
    link_to(&store.layout, view)
}

fn exists(layout: &Layout, view: View) -> Result<bool> {
    let tree = fs::stat(&view.tree(layout)).optional()?;
    Ok(tree.is_some_and(|stat| stat.kind == Kind::Directory))
}

/// Whether content of the view is missing or altered. Entries that users added and modes that they changed are kept.
fn is_torn(store: &Store, view: View, cancel: &Cancel) -> Result<bool> {
    let manifest = Manifest::read(&store.layout, view.number)?;
    let problems = manifest.compare(&view.tree(&store.layout), Depth::Bytes, cancel)?;
    Ok(problems
        .iter()
        .any(|(_, problem)| !matches!(problem, Problem::Extra | Problem::Mode)))
}

/// Whether anything in a view changed after it was renamed to its final path. The rename set the change time of its
/// directory.
fn is_changed(layout: &Layout, view: View) -> Result<bool> {
    let placed = fs::stat(&view.directory(layout))?.changed_ns;
    let tree = view.tree(layout);
    let mut newest = fs::stat(&tree)?.changed_ns;
    walk_any(&tree, &mut |_, _, stat| {
        newest = newest.max(stat.changed_ns);
        Ok(())
    })?;
    Ok(newest > placed)
}

/// Removes views. Keeps the view that links lead to, the one before it, and the newest view of each kept generation.
pub(super) fn sweep(layout: &Layout, kept_numbers: &[u64]) -> Result<()> {
    let linked = linked_view(layout)?;
    let mut views = all_views(layout)?;
    views.sort_unstable_by_key(|view| std::cmp::Reverse(view.sequence));
    let mut kept = Vec::new();
    for view in views {
        let was_shown = linked.is_some_and(|linked| view.sequence <= linked.sequence);
        let is_needed =
            kept.len() < 2 || (kept_numbers.contains(&view.number) && !kept.contains(&view.number));
        if was_shown && is_needed {
            kept.push(view.number);
        } else {
            move_view_to_trash(layout, view)?;
        }
    }
    // Left by a writer that was killed. This process holds the writer lock.
    fs::remove_tree(&layout.views().join(NEW))
}

fn all_views(layout: &Layout) -> Result<Vec<View>> {
    let entries = fs::read_directory(&layout.views())
        .optional()?
        .unwrap_or_default();
    Ok(entries
        .iter()
        .filter_map(|entry| View::parse(&entry.name))
        .collect())
}

fn move_view_to_trash(layout: &Layout, view: View) -> Result<()> {
    let trash = layout.trash(&format!("view-{}-{}", view.name(), clock::monotonic_micros()));
    move_to_trash(&view.directory(layout), &trash).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_shape_is_a_view() {
        let view = View {
            sequence: 12,
            number: 7,
        };
        assert_eq!(parse(Path::new("views/000012-000007/tree")), Some(view));
        assert_eq!(view.name(), "000012-000007");
        for other in [
            "views/12-7/tree",
            "/views/000012-000007/tree",
            "views/000012-000007",
            "views/000012/tree",
            "views/new/tree",
            "gens/000007/tree",
        ] {
            assert_eq!(parse(Path::new(other)), None, "{other}");
        }
    }
}
