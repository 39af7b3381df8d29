-- Takes back 0012.
DROP TABLE torc.api_traffic, torc.api_listener, torc.api_event;
