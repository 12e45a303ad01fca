"""What the help of the `dripline` commands says before and after their options."""

EXIT_CODES = """\
exit codes:
  0    the answer is complete
  1    the run failed: Ollama or the model could not answer
  2    the command was used wrongly, or the server refused the request
  3    no server answers
  4    the stream broke, or the output: what was printed is not the whole answer
  130  Ctrl-C: the answer was stopped (143 after SIGTERM, 129 after SIGHUP)
"""
ENVIRONMENT = """\
environment:
  DRIPLINE_SERVER  the server's address; --server goes before it
  DRIPLINE_TOKEN   the token that the server asks for
"""
EXAMPLES = """\
examples:
  dripline ask "Why is the sky blue?" --model mistral
  dripline chat --model mistral
  dripline models
"""
ASK = """\
Ask once and print the answer as it comes. What is piped in goes after the
prompt; --no-stdin leaves it alone. Ctrl-C stops the model too.
"""
ASK_EXAMPLES = """\
examples:
  dripline ask "Why is the sky blue?" --model mistral
  cat notes.txt | dripline ask "Summarise"
  while read -r line; do dripline ask --no-stdin "$line"; done < questions.txt
  dripline ask --json "Hi" | jq -r '.data.content // empty'
"""
CHAT = """\
Chat in the terminal; /help lists what can be done there. Of what is piped in
each line is a message; one of several lines stands between \"\"\" and \"\"\".
"""
CHAT_EXAMPLES = """\
examples:
  dripline chat --model mistral
  dripline chat --system "Answer in French."
"""
MODELS = """\
List the models that the server can use: name, size, whether it is in memory,
and what it can do.
"""
MODELS_EXAMPLES = """\
examples:
  dripline models
  dripline models --json | jq -r .name
"""
RECORD = """\
Record a stream into a file that can be replayed: of another dripline command,
which stands after --, or of any URL. What comes is printed too. Authorization,
cookies and API keys stay out of the file.
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
says what is different from the nearest one.
"""
REPLAY_EXAMPLES = """\
examples:
  dripline replay sky.jsonl --port 8001 --speed 10 --split every_byte
  dripline replay sky.jsonl --match body --repeat
"""
SHOW = """\
Print what came and when, where each read ended, and figures. With two files,
their figures side by side.
"""
SHOW_EXAMPLES = """\
examples:
  dripline show sky.jsonl
  dripline show before.jsonl after.jsonl --plot tokens.png
"""
FAKE = """\
Run a fake Ollama with demo models until Ctrl-C. It speaks all of Ollama's API,
and OpenAI's and Anthropic's as Ollama does: point a program at it that wants an
Ollama, and see how it does without one.
"""
FAKE_EXAMPLES = """\
examples:
  dripline fake-ollama --port 11435
  dripline-server --ollama http://127.0.0.1:11435
"""
