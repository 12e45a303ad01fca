// What many front ends have instead: each network chunk is taken for whole lines. It loses messages.
export async function usualLoop(response: Response, onMessage: (message: unknown) => void) {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  while (true) {
    const { done, value } = await reader.read();
    if (done) break;
    for (const line of decoder.decode(value).split("\n")) {
      if (line.startsWith("data: ")) onMessage(JSON.parse(line.slice(6)));
    }
  }
}
