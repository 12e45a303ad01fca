"""The texts before and after the options in the help of the `dripline` commands."""

EXIT_CODES = """\
exit codes:
  0    the answer is complete
  1    the run failed or was stopped: the answer is not complete
  2    the command was used wrongly, or the server refused the request
  3    no server answers
  4    the stream or the output broke, so the printed answer is incomplete
  130  Ctrl-C: the answer was stopped (143 after SIGTERM, 129 after SIGHUP)
"""
ENVIRONMENT = """\
environment:
  DRIPLINE_SERVER  the server's address; --server overrides it
  DRIPLINE_TOKEN   the server's token, if it requires one
"""
EXAMPLES = """\
examples:
  dripline ask "Why is the sky blue?" --model mistral
  dripline chat --model mistral
  dripline models
"""
ASK = """\
Ask one question and print the answer while it is generated. Piped input is
added to the end of the prompt, unless you use --no-stdin. Ctrl-C also stops
the model.
"""
ASK_EXAMPLES = """\
examples:
  dripline ask "Why is the sky blue?" --model mistral
  cat notes.txt | dripline ask "Summarise"
  while read -r line; do dripline ask --no-stdin "$line"; done < questions.txt
  dripline ask --json "Hi" | jq -r '.data.content // empty'
"""
CHAT = """\
Chat in the terminal. Type /help for a list of commands. In piped input, each
line is a message; put a message of several lines between \"\"\" and \"\"\".
"""
CHAT_EXAMPLES = """\
examples:
  dripline chat --model mistral
  dripline chat --system "Answer in French."
"""
MODELS = """\
List the server's models: name, size, whether the model is in memory, and its
capabilities.
"""
MODELS_EXAMPLES = """\
examples:
  dripline models
  dripline models --json | jq -r .name
"""
RUNS = """\
List the answers that this server process makes or has made a short while ago,
the newest first: id, status, when it began, and the model. Any program can have
asked for them, for example one that uses OpenAI's API.
"""
ATTACH = """\
Print an answer from its beginning, and go on while it is generated. Ctrl-C ends
only the printing. If the program that asked leaves, the answer goes on while
you read it.
"""
STOP = """\
Stop the answer of a run: the model stops, and all its readers are told.
"""
RUNS_EXAMPLES = """\
examples:
  dripline runs
  dripline attach
  dripline runs --json | jq -r .run_id
"""
PULL = """\
Get a model through the server, and show how far that is. Ctrl-C pauses: the
same command goes on from there. The server has to allow it, as one on this
machine does (dripline-server --allow-model-changes).
"""
PULL_EXAMPLES = """\
examples:
  dripline pull llama3.2
"""
RM = """\
Delete models from Ollama's disk, if the server allows it.
"""
RM_EXAMPLES = """\
examples:
  dripline rm llama3.2
"""
PS = """\
List the models in memory: name, size, how many tokens each sees, and how long
it stays.
"""
PS_EXAMPLES = """\
examples:
  dripline ps
  dripline ps --json | jq -r .name
"""
RECORD = """\
Record a stream into a file that can be replayed. Record any URL, or another
dripline command: write it after --. The stream is also printed. Authorization
headers, cookies and API keys are left out of the file.
"""
RECORD_EXAMPLES = """\
examples:
  dripline record sky.jsonl -- ask "Why is the sky blue?"
  dripline record ollama.jsonl --data @chat.json \\
      --url http://127.0.0.1:11434/api/chat
"""
REPLAY = """\
Answer requests as the recorded server did, until Ctrl-C. The same request again
gets its next recorded answer. A request that was not recorded gets a 404 that
lists the differences from the most similar recorded request.
"""
REPLAY_EXAMPLES = """\
examples:
  dripline replay sky.jsonl --port 8001 --speed 10 --split every_byte
  dripline replay sky.jsonl --match body --repeat
"""
SHOW = """\
Print a recorded stream with its times, the end of each read, and statistics.
With two files, compare their statistics side by side.
"""
SHOW_EXAMPLES = """\
examples:
  dripline show sky.jsonl
  dripline show before.jsonl after.jsonl --plot tokens.png
"""
FAKE = """\
Run a fake Ollama with demo models until Ctrl-C. It supports all of Ollama's
API, including the OpenAI and Anthropic compatible parts. Use it to try or test
a program that needs Ollama without installing Ollama.
"""
FAKE_EXAMPLES = """\
examples:
  dripline fake-ollama --port 11435
  dripline-server --ollama http://127.0.0.1:11435
"""
