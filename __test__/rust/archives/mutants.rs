//! Each seeded bug is detected by the test for it.

use super::support::seeded_bugs::is_killed_by;

#[test]
fn a_reader_that_does_not_drain_is_detected() {
    is_killed_by(
        "no-drain",
        "archives::archive::a_wrong_checksum_after_the_end_of_the_tar_is_detected",
    );
    is_killed_by(
        "no-drain",
        "archives::archive::a_tar_cut_between_entries_or_with_trailing_bytes_is_detected",
    );
}

#[test]
fn a_reader_that_writes_over_a_repeated_name_is_detected() {
    is_killed_by(
        "write-through",
        "archives::archive::a_repeated_path_is_replaced_or_rejected",
    );
}

#[test]
fn a_writer_without_checksums_is_detected() {
    is_killed_by(
        "no-checksum",
        "archives::archive::each_of_400_flipped_bits_is_detected",
    );
}

#[test]
fn a_reader_that_trusts_the_size_in_a_header_is_detected() {
    is_killed_by(
        "trust-header-size",
        "archives::archive::an_impossible_size_is_refused",
    );
}

#[test]
fn a_packer_that_follows_links_is_detected() {
    is_killed_by(
        "follow-links",
        "archives::containment::a_pack_stores_a_link_as_a_link",
    );
}

#[test]
fn a_packer_that_accepts_torn_files_is_detected() {
    is_killed_by(
        "pack-torn-files",
        "archives::archive::a_file_that_changes_while_it_is_packed_fails_the_pack",
    );
    // Small files are read by different code.
    is_killed_by(
        "pack-torn-files",
        "archives::archive::a_small_file_that_changes_while_it_is_packed_is_read_again",
    );
    is_killed_by(
        "pack-torn-files",
        "archives::archive::a_small_file_that_changes_in_both_reads_fails_the_pack",
    );
}

#[test]
fn a_commit_after_the_deadline_is_detected() {
    is_killed_by(
        "commit-after-deadline",
        "archives::commit::nothing_is_committed_after_the_gate_was_closed",
    );
}

#[test]
fn a_commit_that_trusts_everybody_is_detected() {
    is_killed_by(
        "trust-strangers",
        "archives::strangers::a_stage_of_an_untrusted_user_is_ignored",
    );
}

#[test]
fn a_commit_that_follows_links_in_a_stage_is_detected() {
    is_killed_by(
        "follow-links",
        "archives::strangers::a_stage_with_a_link_in_place_of_a_directory_is_ignored",
    );
}
