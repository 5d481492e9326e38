//! Each seeded bug is seen by the test that is there to see it.

use super::support::seeded_bugs::is_killed_by;

#[test]
fn a_reader_that_does_not_drain_is_killed() {
    is_killed_by(
        "no-drain",
        "archives::archive::i9_a_wrong_checksum_of_the_last_frame_is_found_though_the_tar_ended",
    );
    is_killed_by(
        "no-drain",
        "archives::archive::i9_a_tar_cut_between_entries_and_one_with_bytes_behind_its_end_are_found",
    );
}

#[test]
fn a_reader_that_writes_over_a_repeated_name_is_killed() {
    is_killed_by(
        "write-through",
        "archives::archive::a_repeated_name_is_replaced_and_can_be_rejected",
    );
}

#[test]
fn a_writer_without_checksums_is_killed() {
    is_killed_by(
        "no-checksum",
        "archives::archive::i9_each_of_400_flipped_bits_is_found",
    );
}

#[test]
fn a_reader_that_trusts_the_size_in_a_header_is_killed() {
    is_killed_by(
        "trust-header-size",
        "archives::archive::i13_a_size_that_no_file_has_is_refused",
    );
}

#[test]
fn a_packer_that_follows_links_is_killed() {
    is_killed_by(
        "follow-links",
        "archives::containment::what_a_pack_leaves_in_place_of_a_link_is_the_link",
    );
}

#[test]
fn a_packer_that_takes_torn_files_is_killed() {
    is_killed_by(
        "pack-torn-files",
        "archives::archive::i20_a_file_that_changes_while_it_is_packed_fails_the_pack",
    );
    // Small files are read elsewhere.
    is_killed_by(
        "pack-torn-files",
        "archives::archive::i20_a_small_file_that_changes_while_it_is_packed_is_read_once_more",
    );
    is_killed_by(
        "pack-torn-files",
        "archives::archive::i20_a_small_file_that_changes_in_both_reads_fails_the_pack",
    );
}

#[test]
fn a_commit_after_the_deadline_is_killed() {
    is_killed_by(
        "commit-after-deadline",
        "archives::commit::i4_nothing_is_committed_after_the_gate_was_closed",
    );
}

#[test]
fn a_commit_that_trusts_everybody_is_killed() {
    is_killed_by(
        "trust-strangers",
        "archives::strangers::b1_a_strangers_stage_is_left_alone",
    );
}

#[test]
fn a_commit_that_follows_links_in_a_stage_is_killed() {
    is_killed_by(
        "follow-links",
        "archives::strangers::b4_a_stage_with_a_link_in_place_of_one_of_its_directories_is_left_alone",
    );
}
