"""A RAG chain in LangChain, and an agent that searches by a tool.

The chat model is a stand-in that quotes the first line it is given, so that the example runs
anywhere: put your own in its place. Needs `weft[langchain]`.
"""

import tempfile
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import BaseTool, create_retriever_tool

from weft.integrations.langchain import WeftReranker, WeftRetriever, WeftVectorStore

MANUAL = {
    "ferry": "The ferry to the island leaves at nine and comes back at six.",
    "ticket": "Tickets for the crossing are sold on the pier and cost four crowns.",
    "bread": "Bread dough must rest for an hour before it is baked.",
    "storm": "When the storm flag is up, no boat leaves the harbour.",
    "violin": "A violin has four strings, tuned in fifths.",
}


class StandIn(BaseChatModel):
    """Asks the tool that it is bound to, once, and quotes the first line of what it reads."""

    tool: str | None = None

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: list[BaseTool], **kwargs: Any) -> "StandIn":
        """A copy that calls the first of the tools."""
        return StandIn(tool=tools[0].name)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        last = messages[-1]
        if self.tool and isinstance(last, HumanMessage):
            call = {"name": self.tool, "args": {"query": last.content}, "id": "call-1"}
            message = AIMessage(content="", tool_calls=[call])
        else:
            message = AIMessage(content=str(last.content).partition("\n")[0])
        return ChatResult(generations=[ChatGeneration(message=message)])


def joined(documents: list[Document]) -> str:
    """The context that goes into the prompt."""
    return "\n".join(document.page_content for document in documents)


def ask_agent(model: BaseChatModel, tool: BaseTool, question: str) -> str:
    """The loop of an agent: the model calls the tool until it has an answer."""
    messages: list[BaseMessage] = [HumanMessage(question)]
    bound = model.bind_tools([tool])
    while True:
        answer = bound.invoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            return str(answer.content)
        messages += [tool.invoke(call) for call in answer.tool_calls]


def main() -> None:
    """Index, ask a chain, ask an agent, and look at scores."""
    store = WeftVectorStore(tempfile.mkdtemp() + "/index")
    store.add_documents(
        [Document(id=id, page_content=text, metadata={"about": id}) for id, text in MANUAL.items()]
    )
    retriever = WeftRetriever(store.index, k=2)
    model = StandIn()

    prompt = ChatPromptTemplate.from_template("{context}\n\nQuestion: {question}")
    inputs = {"context": retriever | joined, "question": RunnablePassthrough()}
    chain = inputs | prompt | model | StrOutputParser()
    print("chain:", chain.invoke("When does the ferry leave?"))
    print("batch:", *chain.batch(["How long does dough rest?", "How is a violin tuned?"]))

    tool = create_retriever_tool(retriever, "search_manual", "Searches the harbour's manual.")
    print("agent:", ask_agent(model, tool, "What does the crossing cost?"))

    only = {"about": {"$in": ["storm", "ticket"]}}
    found = retriever.invoke("boat", k=1, filter=only, score_key="score", explain_key="why")[0]
    best = max(found.metadata["why"], key=lambda match: match["contribution"])
    print(f"filter: {found.id}, score {found.metadata['score']:.2f}, met by {best['token']!r}")

    texts = [Document(page_content=text) for text in MANUAL.values()]
    reranker = WeftReranker(encoder=store.index.encoder, top_n=1)
    print("rerank:", reranker.compress_documents(texts, "music")[0].page_content)


if __name__ == "__main__":
    main()
