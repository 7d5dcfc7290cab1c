//! The conformance suite: what must hold over every kind of link. Each scenario states one outcome, in its name and its first line.

pub mod addresses;
pub mod calls;
pub mod channels;
pub mod congestion;
pub mod consuming;
pub mod direct;
pub mod directory;
pub mod endings;
pub mod files;
pub mod forgery;
pub mod handlers;
pub mod load;
pub mod names;
pub mod order;
pub mod policies;
pub mod processes;
pub mod publishing;
pub mod recording;
pub mod routing;
pub mod services;
pub mod sizes;
pub mod supervision;
pub mod topics;
pub mod traces;
pub mod watching;
pub mod wire;

/// Makes each scenario of some rooms a test over one kind of link.
#[macro_export]
macro_rules! tests_of {
    ($fabric:ty, $room:ident: $($scenario:ident),* $(,)?) => { $(
        #[test]
        fn $scenario() {
            $crate::mesh::run::<$fabric>($crate::scenarios::$room::$scenario::<$fabric>);
        }
    )* };
}

/// Makes every scenario of the suite a test over one kind of link. Each test's name begins with the row that it shows.
#[macro_export]
macro_rules! conformance {
    ($fabric:ty) => {
        $crate::tests_of!($fabric, addresses:
            an_address_is_a_value,
            an_address_prints_no_capability,
            an_unattached_address_hands_the_message_back,
            an_address_in_a_message_works_in_a_third_context,
            a_recipient_answers_near_far_and_in_a_message,
            lookup_finds_by_name_and_kind,
            a_name_belongs_to_one_living_actor,
            a_parent_starts_registered_actors_below_itself,
        );
        $crate::tests_of!($fabric, calls:
            m12_functions_give_their_values_near_and_far,
            m12_an_error_arrives_with_its_causes,
            m12_a_panic_keeps_text_and_place,
            m12_a_value_without_a_form_fails_its_call,
            m12_an_address_is_an_argument,
            m12_a_call_ends_with_its_context,
            m12_a_child_cannot_call_its_parent,
            m12_a_call_without_an_answer_is_run,
            a_call_that_is_given_up_ends_its_function,
            m13_a_chain_runs_in_its_order,
            m13_the_first_failure_fails_the_rest_unrun,
            m13_chains_leave_nothing_behind,
            m13_a_call_given_up_fails_its_chain,
            an_unknown_function_is_named_with_what_there_is,
        );
        $crate::tests_of!($fabric, channels:
            m14_values_come_in_their_order_near_and_far,
            m14_a_sender_ends_the_channel_behind_its_values,
            m14_a_receiver_ends_with_the_context_that_it_hangs_on,
            m14_what_is_sent_to_a_closed_receiver_is_dead,
            m14_a_receiver_that_takes_nothing_holds_its_senders_back,
            m14_an_empty_select_gives_nothing,
            m14_a_select_keeps_the_order_of_arrival,
            m14_a_select_in_a_select_gives_what_comes_there,
            m14_a_select_waits_for_no_longer_than_it_is_told,
            m14_a_member_that_has_ended_is_none_any_more,
        );
        $crate::tests_of!($fabric, congestion:
            one_that_stops_reading_holds_its_own_senders_alone,
            a_pause_goes_back_hop_by_hop,
            when_the_paused_one_dies_everybody_is_answered,
            a_relay_that_ends_answers_what_waits_in_it,
            a_loss_does_not_overtake_what_waits,
            long_bodies_wait_and_arrive_whole,
        );
        $crate::tests_of!($fabric, consuming:
            g10_a_consumer_that_crashes_does_not_acknowledge,
            g11_requiring_nobody_is_plain,
            g12_plain_messages_and_acknowledgements_are_not_acknowledged,
            g13_streams_and_actors_acknowledge,
            g14_a_hundred_publishes_have_outcomes_of_their_own,
            a_signed_message_that_does_not_hold_is_refused,
            stored_is_durable_and_what_never_succeeds_is_given_up,
            a_message_of_any_type_is_carried_on_as_it_is,
        );
        $crate::tests_of!($fabric, direct:
            a_direct_link_is_taken_by_both_ends,
            order_holds_while_a_direct_link_comes_and_goes,
            what_is_asked_by_a_link_that_is_given_up_is_answered,
            a_direct_link_that_breaks_leaves_the_tree,
            two_that_connect_to_each_other_hold_one_link,
            the_death_of_a_peer_ends_its_direct_links,
            a_ticket_lets_in_whom_it_names_once,
            m07_a_direct_link_speaks_for_its_peer_alone,
            m08_policies_on_the_way_keep_tickets_back,
            m08_one_way_mode_keeps_tickets_back,
        );
        $crate::tests_of!($fabric, directory:
            a_name_of_the_mesh_has_one_owner,
            a_name_can_be_waited_for,
            waits_for_a_name_end_with_their_time,
            r14_of_two_owners_one_stands_and_the_other_is_told,
            a_group_knows_its_members_everywhere,
            a_group_is_sent_to_together_or_by_turns,
            names_go_with_those_who_move,
        );
        $crate::tests_of!($fabric, endings:
            m18_a_tree_ends_from_its_leaves,
            m18_a_detached_context_is_lost_for_its_parent_and_outlives_it,
            m18_a_parent_that_was_not_asked_detaches_nobody,
            m02_a_detached_subtree_attaches_below_another,
            m02_a_subtree_moves_to_another_parent,
            an_orphan_rejoins_another_parent,
            an_orphan_whom_nobody_takes_ends,
        );
        $crate::tests_of!($fabric, files:
            m16_an_offered_file_comes_to_whoever_asks,
            m16_what_is_not_offered_goes_to_those_above_alone,
            m16_nobody_borrows_the_authority_of_a_hop,
            m16_a_file_is_sent_to_a_child,
            m16_many_below_a_hop_share_one_copy,
            m16_the_window_of_pieces_holds,
            m16_a_broken_transfer_goes_on_where_it_ended,
            m16_a_changed_file_is_discarded,
            m16_transfers_leave_nothing_behind,
        );
        $crate::tests_of!($fabric, forgery:
            m03_forged_withdrawal_is_refused,
            m03_forged_withdrawal_wakes_nobody,
            m02_announcements_that_do_not_hold_are_refused,
            m04_a_known_handle_and_a_forged_dead_reply_end_nobodys_call,
            m04_a_guessed_handle_ends_nobodys_call,
            m07_bad_source_and_bad_authority_are_refused_at_the_first_hop,
            m07_every_hop_checks,
            r07_garbage_on_an_old_connection_cannot_end_the_new_one,
            r23_a_replayed_route_message_is_not_accepted,
            r23_an_old_incarnation_is_not_accepted,
            r23_a_replayed_answer_ends_nothing,
            r04_an_old_address_on_a_restarted_peer_is_stale,
        );
        $crate::tests_of!($fabric, handlers:
            handlers_of_every_kind_answer_near_and_far,
            asynchronous_answers_interleave_and_atomic_ones_do_not,
            an_inbound_handler_learns_who_asks,
            dead_case_14_a_dropped_reply_port_is_no_answer,
            an_answer_without_a_form_fails_its_call,
            a_request_ends_with_its_time_limit,
            a_request_has_the_contexts_time_limit,
            a_dropped_request_leaves_nothing_behind,
            dead_case_3_a_message_that_is_not_listed_is_unknown,
            an_authors_error_arrives_intact,
            a_kill_begins_nothing_anew,
            r10_a_panic_fails_its_call_with_its_text,
            r10_a_panic_ends_its_actor_alone_and_is_the_reason,
            r10_a_panic_in_a_hook_is_the_reason,
            dead_case_2_what_waits_in_a_stopped_mailbox_is_answered,
            an_actor_that_already_runs_can_be_bound,
            dead_case_13_a_shutdown_answers_who_waits,
        );
        $crate::tests_of!($fabric, load:
            r01_a_thousand_requests_to_the_absent_leave_nothing_behind,
            r20_sending_to_many_broken_peers_exhausts_nothing,
            r19_churn_leaves_the_tables_at_baseline,
            r19_contexts_that_come_and_go_leave_nothing_behind,
            r08_requests_pass_beside_long_bodies,
            the_books_balance_while_no_link_breaks,
            the_books_count_what_was_in_flight_as_unknown,
        );
        $crate::tests_of!($fabric, names:
            a_name_is_bound_to_its_context,
            a_claim_holds_for_what_was_signed,
            questions_that_are_no_names_are_refused,
        );
        $crate::tests_of!($fabric, order:
            r02_many_to_many_arrive_in_order_per_pair,
            r02_what_follows_a_large_message_stays_behind_it,
            r15_concurrent_senders_keep_their_own_order,
            r15_a_burst_of_several_kinds_to_several_mailboxes_is_never_mixed_up,
            r15_all_ways_of_sending_keep_one_order,
            r15_a_recreated_mailbox_of_the_same_name_gets_nothing_of_the_old,
            a_closed_receiver_holds_near_senders_back,
            a_closed_receiver_holds_far_senders_back,
            r17_what_was_told_is_flushed_on_shutdown,
        );
        $crate::tests_of!($fabric, policies:
            m08_anyone_may,
            m08_only_a_parents_authority_may,
            m08_only_an_immediate_child_may,
            m08_only_itself_may,
            m08_an_authors_own_policy_decides,
            m08_refused_one_way_messages_are_dead_letters,
            m08_reserved_mailboxes_have_their_policies,
            m08_siblings_in_one_way_mode_cannot_talk,
        );
        $crate::tests_of!($fabric, publishing:
            g01_both_required_acknowledge,
            g02_one_of_two_is_missing_right_after_both_have_acknowledged,
            g03_an_offline_recipient_is_an_error_at_the_deadline,
            g04_forged_acknowledgements_are_ignored_and_counted,
            g05_an_acknowledgement_that_comes_at_once_counts,
            g06_a_replayed_acknowledgement_is_ignored,
            g07_duplicate_acknowledgements_count_once,
            g08_lost_acknowledgements_are_no_success_and_the_same_id_is_handled_once,
            g09_with_a_policy_a_reliable_message_still_validates,
            g15_a_revoked_key_does_not_acknowledge,
            what_is_sent_again_comes_to_a_subscription_once,
        );
        $crate::tests_of!($fabric, recording:
            g17_a_consumer_that_was_away_gets_the_missed_range_in_order,
            g17_what_a_consumer_could_not_hold_comes_from_the_recorder,
            g17_what_is_not_kept_any_more_is_said,
            g17_an_altered_replay_is_refused,
            g17_a_recorder_that_is_away_holds_nothing_up_for_long,
        );
        $crate::tests_of!($fabric, routing:
            m01_a_chain_of_ten_reaches_from_end_to_end,
            m01_siblings_cousins_and_generations_reach_each_other,
            m02_a_childs_first_message_is_answered_by_a_far_cousin,
            m02_an_address_in_a_first_message_works_at_once,
            m05_only_who_addressed_hears_of_a_loss_once_per_stream,
            m06_a_lost_child_wakes_its_waiters,
            m06_a_lost_grandchild_wakes_its_waiters,
            m06_a_lost_intermediary_wakes_those_who_wait_beyond_it,
            m06_a_lost_near_sibling_wakes_its_waiters,
            m06_a_lost_far_sibling_wakes_its_waiters,
            m06_a_lost_parent_wakes_those_who_wait_outside,
            m10_three_kinds_of_absence_have_three_reasons,
            m10_a_long_request_to_nobody_is_answered_as_a_short_one_is,
            m10_one_way_messages_to_the_absent_are_counted_where_they_end,
        );
        $crate::tests_of!($fabric, services:
            m15_a_service_starts_once_however_many_call_at_once,
            m15_only_who_may_starts_a_service,
            m15_a_context_starts_its_own_services,
            m15_each_method_has_its_policy,
            m15_a_method_learns_who_calls,
            m15_bad_arguments_are_a_clear_error,
            m15_serialized_methods_run_one_after_the_other,
            m15_concurrent_methods_run_beside_each_other,
            m15_equal_calls_of_a_deduplicating_method_share_one_run,
            m15_a_service_that_does_not_start_says_why,
            an_unknown_method_is_named_with_what_there_is,
        );
        $crate::tests_of!($fabric, sizes:
            m09_the_limit_is_inherited_two_levels_down,
            m09_an_oversize_request_is_refused_to_its_sender,
            m09_the_asker_wakes_when_the_reply_is_oversize,
            m09_a_tighter_limit_below_holds_in_both_directions,
            m09_a_limit_below_one_frame_holds,
            r09_a_message_over_the_limit_leaves_the_link_up,
        );
        $crate::tests_of!($fabric, supervision:
            a_child_that_fails_as_it_starts_is_begun_anew,
            a_restart_keeps_address_and_mailbox,
            a_policy_says_who_begins_anew,
            an_operators_word_stands,
            a_supervisor_that_gives_up_ends_its_context,
            failures_escalate_to_the_supervisor_above,
            a_child_elsewhere_outlives_its_context,
            a_stable_address_outlives_its_actors_contexts,
            a_stable_address_leads_within_a_context_too,
            a_child_is_placed_with_a_member_of_a_group,
            a_supervisors_stop_overtakes_messages,
            the_end_of_a_supervisor_is_the_end_of_all,
            a_child_that_does_not_start_is_tried_elsewhere,
            a_panic_of_what_chooses_a_place_is_a_failed_start,
            what_happens_to_children_is_told,
            linked_actors_end_together,
        );
        $crate::tests_of!($fabric, topics:
            what_is_published_comes_to_who_has_subscribed,
            a_message_takes_each_link_once,
            an_actor_can_subscribe,
            what_finds_no_room_on_a_link_comes_when_there_is_some,
            who_takes_nothing_out_learns_what_was_dropped,
            a_subscription_moves_with_its_context,
            what_is_published_comes_also_when_those_above_have_moved,
        );
        $crate::tests_of!($fabric, traces:
            a_trace_crosses_hops,
            a_trace_goes_on_from_handler_to_handler,
            a_message_without_a_trace_stays_without,
            a_message_that_waits_keeps_its_trace,
            a_call_carries_its_trace,
            a_peers_trace_is_taken_if_it_names_something,
        );
        $crate::tests_of!($fabric, watching:
            r10_each_reason_reaches_near_and_far_watchers,
            r04_watching_the_dead_tells_at_once,
            r03_a_notice_comes_after_the_last_message_over_a_saturated_link,
            r03_a_loss_over_a_saturated_link_reaches_every_watcher,
            r11_unwatch_then_stop_brings_no_notice,
            r11_racing_unwatches_leave_one_outcome_each,
            r11_every_watcher_is_told_once,
            r12_a_silent_peer_is_found_within_the_detection_time,
            r12_a_short_silence_costs_no_link,
            r13_ups_and_downs_alternate_under_flapping,
            r11_watches_that_race_a_loss_are_told,
            r19_a_lost_watcher_leaves_no_watch_behind,
        );
        $crate::tests_of!($fabric, wire:
            r05_malformed_control_messages_drop_the_link_that_sent_them,
            r05_garbage_instead_of_an_opening_gets_no_link,
            r06_broken_fragments_end_their_body_alone,
            r06_interleaved_bodies_arrive_whole,
            r06_a_total_over_the_limit_is_refused_at_the_first_fragment,
            r06_bodies_up_to_the_limit_arrive_whole,
            r06_large_answers_arrive_whole,
            r16_an_undecodable_message_is_answered_alone,
            r16_an_undecodable_answer_fails_one_call,
            dead_case_12_a_used_up_hop_limit_is_a_loop,
            dead_case_11_a_full_mailbox_says_so,
            dead_case_15_a_request_that_was_given_up_is_not_handled,
        );
    };
}

/// As [`conformance`], what needs real processes: over links on this machine, not over simulated ones.
#[macro_export]
macro_rules! conformance_of_processes {
    ($fabric:ty) => {
        $crate::tests_of!($fabric, processes:
            a_command_runs_with_its_output_and_its_end,
            a_command_that_cannot_start_says_why,
            a_command_ends_with_its_call,
            a_started_command_is_signalled_and_waited_for,
            a_started_command_ends_with_its_starter,
        );
    };
}
