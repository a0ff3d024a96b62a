import signal
import threading

import torch

torch.set_num_threads(1)  # tests run in parallel processes, whose threads would fight for the same cores

# A shell's background job inherits that Ctrl-C is ignored, and would hand it on to the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
