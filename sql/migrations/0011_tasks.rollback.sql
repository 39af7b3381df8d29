-- Takes back 0011. Tasks that are not finished are lost.
DROP TABLE torc.task;
