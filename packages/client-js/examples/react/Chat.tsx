import { type FormEvent, useState } from "react";
import { ChatClient, type ChatMessage } from "dripline-client";

export function Chat({ server }: { server: string }) {
  const [messages, setMessages] = useState<ChatMessage[]>([]);
  const [answer, setAnswer] = useState("");
  const [color, setColor] = useState("");

  async function sendMessage(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const content = String(new FormData(event.currentTarget).get("message"));
    const asked = [...messages, { role: "user", content }];
    const stream = new ChatClient(server).chat(asked, { ui_control: "auto" });
    setMessages(asked);
    for await (const { type, data } of stream) {
      if (type === "text_message") setAnswer(stream.answer.text);
      else if (type === "ui_control" && data.action === "change_theme") setColor(data.color);
    }
    setMessages([...asked, { role: "assistant", content: stream.answer.text }]);
    setAnswer("");
  }

  return (
    <form onSubmit={sendMessage} style={{ background: color }}>
      {messages.map(({ role, content }, nth) => <p key={nth} className={role}>{content}</p>)}
      <p className="growing">{answer}</p>
      <input name="message" />
    </form>
  );
}
