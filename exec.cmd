@rem npm start and npm run sample say "exec", so that a POSIX shell makes way and Ctrl-C reaches Node alone. For cmd.exe it is this file.
@%*
