%% Stands in for epmd, the daemon by which Erlang's nodes find each other: it would outlive the run, and its port is one for the whole
%% machine. Here the second node tells the first one its port.
-module(measured_epmd).
-export([arguments/2, own_port/0, learn/2]).
-export([start_link/0, register_node/2, register_node/3, address_please/3, port_please/2, port_please/3,
         listen_port_please/2, names/1]).

%% The protocol of the distribution that OTP 23 and later speak.
-define(VERSION, 6).

%% What a node is started with. Loopback only.
arguments(Name, Folder) ->
    ["-noshell", "-pa", Folder, "-sname", Name ++ "@localhost", "-setcookie", "peers", "-start_epmd", "false",
     "-epmd_module", "measured_epmd", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"].

learn(Node, Port) -> persistent_term:put({?MODULE, hd(string:lexemes(atom_to_list(Node), "@"))}, Port).

start_link() -> ignore.

register_node(Name, Port) -> register_node(Name, Port, inet).

%% A node's own port. There is no standard output yet when it registers.
register_node(_, Port, _) ->
    persistent_term:put(?MODULE, Port),
    {ok, 1}.

own_port() -> persistent_term:get(?MODULE).

address_please(_, _, _) -> {ok, {127, 0, 0, 1}}.

port_please(Name, Host) -> port_please(Name, Host, infinity).

port_please(Name, _, _) ->
    case persistent_term:get({?MODULE, Name}, none) of
        none -> noport;
        Port -> {port, Port, ?VERSION}
    end.

listen_port_please(_, _) -> {ok, 0}.

names(_) -> {error, address}.
