%% Erlang/OTP: a process in a second node, over Erlang's distribution (TCP, not encrypted).
%%
%% Speaks with the runner as the other peers do (measure/src/order.rs); the loops are those of measure/src/target.rs, and the numbers
%% below are those there. The first node starts the second one and holds its standard input: each ends when its own input does.
-module(measured).
-export([first/0, second/0]).

-define(SMALL, 64).
-define(MEDIUM, 1024).
-define(NUMBER, 8).
-define(IN_FLIGHT, 64).
-define(PATIENCE, 30000).

%% What the sender may be ahead by, in four batches.
-define(MAILBOX_MESSAGES, 49152).
-define(MAILBOX_BYTES, 16777216).
-define(ENVELOPE, 256).
-define(BATCHES, 4).

%% The second node: a process that counts and answers.

second() ->
    register(sink, spawn(fun() -> sink(0, 0) end)),
    io:format("port ~w~n", [measured_epmd:own_port()]),
    until_the_input_ends().

sink(Messages, Sum) ->
    receive
        {tell, Number, Payload} ->
            sink(Messages + 1, Sum + Number + byte_size(Payload));
        {ask, From, Number, Payload} ->
            From ! {answer, Number, Payload},
            sink(Messages, Sum);
        {tally, From, Ref} ->
            From ! {Ref, Messages, Sum},
            sink(0, 0)
    end.

until_the_input_ends() ->
    case io:get_line("") of
        eof -> halt(0);
        {error, _} -> halt(1);
        _ -> until_the_input_ends()
    end.

%% The first node: sends, asks and reads the clock.

first() ->
    [Second, Port] = start_second(),
    measured_epmd:learn(Second, Port),
    case net_kernel:connect_node(Second) of
        true -> ok;
        _ -> fail("no connection with the second node")
    end,
    %% A process that reads would have to take the other ones' messages from its mailbox.
    Worker = spawn_link(fun() -> work({sink, Second}) end),
    io:format("ready OTP ~s, distribution over TCP~n", [erlang:system_info(otp_release)]),
    serve(Worker).

fail(Why) ->
    io:format(standard_error, "erlang: ~s~n", [Why]),
    halt(1).

%% Its name and port, in its first line.
start_second() ->
    {ok, [[Erl]]} = init:get_argument(second_erl),
    {ok, [[Folder]]} = init:get_argument(second_folder),
    Name = "second" ++ os:getpid(),
    Arguments = measured_epmd:arguments(Name, Folder) ++ ["-s", "measured", "second"],
    Port = open_port({spawn_executable, Erl}, [{args, Arguments}, {line, 256}, binary]),
    receive
        {Port, {data, {eol, Line}}} ->
            <<"port ", Number/binary>> = Line,
            [list_to_atom(Name ++ "@localhost"), binary_to_integer(Number)]
    after ?PATIENCE -> fail("the second node did not start")
    end.

serve(Worker) ->
    case io:get_line("") of
        eof -> halt(0);
        {error, _} -> halt(1);
        Line ->
            [Work, Seconds] = string:lexemes(Line, " \n"),
            Worker ! {order, self(), Work, seconds(Seconds)},
            receive
                {answer, Text} -> io:put_chars([Text, "\n"])
            after round(seconds(Seconds) * 1000) + ?PATIENCE ->
                io:put_chars("failed it did not end 30 s after its time\n"),
                halt(1)
            end,
            serve(Worker)
    end.

seconds(Text) ->
    case string:to_float(Text) of
        {Seconds, ""} -> Seconds;
        _ -> float(list_to_integer(Text))
    end.

work(Sink) ->
    receive
        {order, From, Work, Seconds} ->
            Began = erlang:monotonic_time(),
            End = Began + erlang:convert_time_unit(round(Seconds * 1.0e9), nanosecond, native),
            From ! {answer, run(Work, Sink, Began, End)},
            %% What a run has left would count as the next one's.
            garbage_collect(),
            work(Sink)
    end.

run("tell64", Sink, Began, End) -> tell(Sink, ?SMALL, Began, End);
run("tell1k", Sink, Began, End) -> tell(Sink, ?MEDIUM, Began, End);
run("ask64", Sink, _, End) -> ask(Sink, End);
run("ask64_x64", Sink, Began, End) -> ask_in_flight(Sink, Began, End);
run(_, _, _, _) -> "without Erlang has no arbiters: its processes run on whichever scheduler is free".

done(Figures, Sent, Handled) ->
    Words = [io_lib:format(" ~.6f", [float(Figure)]) || Figure <- Figures],
    io_lib:format("done~s sent ~w handled ~w", [Words, Sent, Handled]).

rate(Count, Began) ->
    Took = erlang:convert_time_unit(erlang:monotonic_time() - Began, native, nanosecond),
    Count * 1.0e9 / Took.

payload(Bytes) -> binary:copy(<<16#5a>>, Bytes - ?NUMBER).

%% One way.

tell(Sink, Bytes, Began, End) ->
    Lead = min(?MAILBOX_MESSAGES, ?MAILBOX_BYTES div (Bytes + ?ENVELOPE)) div 4 * 3,
    Batch = (Lead + ?BATCHES - 1) div ?BATCHES,
    Stride = max(1, 64 * ?SMALL div Bytes),
    {Sent, Handled, Sum} = batches(Sink, payload(Bytes), Batch, Stride, End, [], 0, 0, 0),
    Rate = rate(Handled, Began),
    %% Erlang keeps the order and loses nothing while a connection stands.
    case Sum =:= Sent * (Sent - 1) div 2 + Sent * (Bytes - ?NUMBER) andalso Sent =:= Handled of
        true -> done([Rate], Sent, Handled);
        false -> io_lib:format("failed ~w were told, ~w handled with the sum ~w", [Sent, Handled, Sum])
    end.

batches(Sink, Payload, Batch, Stride, End, Tallies, Sent, Handled, Sum) ->
    Now = send(Sink, Payload, Batch, Stride, End, Sent),
    Ref = make_ref(),
    Sink ! {tally, self(), Ref},
    Asked = Tallies ++ [Ref],
    case erlang:monotonic_time() >= End of
        true ->
            {Messages, More} = tallies(Asked, Handled, Sum),
            {Now, Messages, More};
        false when length(Asked) =:= ?BATCHES ->
            [Oldest | Rest] = Asked,
            {Messages, More} = tallies([Oldest], Handled, Sum),
            batches(Sink, Payload, Batch, Stride, End, Rest, Now, Messages, More);
        false ->
            batches(Sink, Payload, Batch, Stride, End, Asked, Now, Handled, Sum)
    end.

send(_, _, 0, _, _, Sent) -> Sent;
send(Sink, Payload, Left, Stride, End, Sent) ->
    Sink ! {tell, Sent, Payload},
    case (Sent + 1) rem Stride =:= 0 andalso erlang:monotonic_time() >= End of
        true -> Sent + 1;
        false -> send(Sink, Payload, Left - 1, Stride, End, Sent + 1)
    end.

tallies([], Handled, Sum) -> {Handled, Sum};
tallies([Ref | Rest], Handled, Sum) ->
    receive
        {Ref, Messages, More} -> tallies(Rest, Handled + Messages, Sum + More)
    end.

%% Requests.

ask(Sink, End) ->
    case times(Sink, payload(?SMALL), End, 0, []) of
        [] -> "failed no request was answered in its time";
        Times ->
            Sorted = lists:sort(Times),
            Count = length(Sorted),
            Of = fun(Percent) -> lists:nth(max(1, (Count * Percent + 99) div 100), Sorted) / 1000 end,
            done([Of(50), Of(99)], Count, Count)
    end.

times(Sink, Payload, End, Number, Times) ->
    Asked = erlang:monotonic_time(),
    case Asked >= End of
        true -> Times;
        false ->
            Sink ! {ask, self(), Number, Payload},
            receive
                {answer, Number, Payload} -> ok
            end,
            Took = erlang:convert_time_unit(erlang:monotonic_time() - Asked, native, nanosecond),
            times(Sink, Payload, End, Number + 1, [Took | Times])
    end.

ask_in_flight(Sink, Began, End) ->
    Payload = payload(?SMALL),
    [Sink ! {ask, self(), Number, Payload} || Number <- lists:seq(0, ?IN_FLIGHT - 1)],
    Answered = keep_asking(Sink, Payload, End, ?IN_FLIGHT, 0),
    done([rate(Answered, Began)], Answered, Answered).

keep_asking(_, _, _, Sent, Sent) -> Sent;
keep_asking(Sink, Payload, End, Sent, Answered) ->
    receive
        {answer, Answered, Payload} -> ok
    end,
    case erlang:monotonic_time() >= End of
        true -> keep_asking(Sink, Payload, End, Sent, Answered + 1);
        false ->
            Sink ! {ask, self(), Sent, Payload},
            keep_asking(Sink, Payload, End, Sent + 1, Answered + 1)
    end.
