"""What the operating system provides, where Python's own library is not enough.

files.py       replace files as a whole
output.py      a standard output that may be closed early
interrupt.py   Ctrl-C
waiting.py     wait so that Ctrl-C can interrupt it
forks.py       forks of a process
locks.py       locks between processes
machine.py     memory, threads and names of this machine
cgroups.py     the memory limits of Linux's control groups
windows.py     what only Windows is asked
"""
