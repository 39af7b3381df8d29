ALTER TABLE torc.job RESET (fillfactor);
