// A relay as one writes it with Go's net/http: each line of Ollama's becomes an SSE frame.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
)

type chunk struct {
	Message struct {
		Content string `json:"content"`
	} `json:"message"`
	Done bool `json:"done"`
}

type event struct {
	Type string `json:"type"`
	Data data   `json:"data"`
}

type data struct {
	Content string `json:"content"`
}

func main() {
	ollama := os.Getenv("OLLAMA_HOST")
	http.HandleFunc("POST /chat", func(w http.ResponseWriter, r *http.Request) {
		ask, err := http.NewRequestWithContext(r.Context(), "POST", ollama+"/api/chat", r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		ask.ContentLength = r.ContentLength
		ask.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(ask)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-cache")
		flusher := w.(http.Flusher)
		lines := bufio.NewScanner(answer.Body)
		for id := 1; lines.Scan(); id++ {
			var c chunk
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				return
			}
			text, err := json.Marshal(event{"text_message", data{c.Message.Content}})
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", id, text); err != nil {
				return
			}
			flusher.Flush()
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
