-- Takes back 0002.
DROP TABLE torc.login_attempt;
